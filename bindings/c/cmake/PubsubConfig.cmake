# find_package(Pubsub) gives the targets Pubsub::pubsub (the shared library) and Pubsub::static (the archive, with what it
# needs from the system), for C (pubsub.h) and C++17 (pubsub.hpp). The prefix is where this file is: it may be moved.
get_filename_component(_pubsub_lib "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
get_filename_component(_pubsub_prefix "${_pubsub_lib}/.." ABSOLUTE)

set(Pubsub_FOUND TRUE)
foreach(_pubsub_file
        "${_pubsub_lib}/libpubsub.so.@VERSION@" "${_pubsub_lib}/libpubsub.a" "${_pubsub_prefix}/include/pubsub.h")
    if(NOT EXISTS "${_pubsub_file}")
        set(Pubsub_FOUND FALSE)
        set(Pubsub_NOT_FOUND_MESSAGE "${_pubsub_file} is missing: install libpubsub anew")
    endif()
endforeach()

if(Pubsub_FOUND AND NOT TARGET Pubsub::pubsub)
    add_library(Pubsub::pubsub SHARED IMPORTED)
    set_target_properties(Pubsub::pubsub PROPERTIES
        IMPORTED_LOCATION "${_pubsub_lib}/libpubsub.so.@VERSION@"
        IMPORTED_SONAME "@SONAME@"
        INTERFACE_INCLUDE_DIRECTORIES "${_pubsub_prefix}/include")
endif()
if(Pubsub_FOUND AND NOT TARGET Pubsub::static)
    add_library(Pubsub::static STATIC IMPORTED)
    set_target_properties(Pubsub::static PROPERTIES
        IMPORTED_LOCATION "${_pubsub_lib}/libpubsub.a"
        IMPORTED_LINK_INTERFACE_LANGUAGES C
        INTERFACE_INCLUDE_DIRECTORIES "${_pubsub_prefix}/include"
        INTERFACE_LINK_LIBRARIES "gcc_s;util;rt;pthread;m;dl") # as Libs.private in pubsub.pc
endif()

unset(_pubsub_lib)
unset(_pubsub_prefix)
unset(_pubsub_file)
