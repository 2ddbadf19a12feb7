# Whether this version serves who asks for PACKAGE_FIND_VERSION: the same major version, and before 1.0 the same minor one,
# since until then a minor version may change the ABI; and not an older one.
set(PACKAGE_VERSION "@VERSION@")

string(REGEX MATCH "^([0-9]+)\\.([0-9]+)" _pubsub_series "${PACKAGE_VERSION}")
set(_pubsub_major "${CMAKE_MATCH_1}")
set(_pubsub_minor "${CMAKE_MATCH_2}")
set(PACKAGE_VERSION_COMPATIBLE TRUE)
set(PACKAGE_VERSION_EXACT FALSE)

if(PACKAGE_FIND_VERSION_RANGE) # 0.1...0.3: CMake 3.19 and later
    if(PACKAGE_VERSION VERSION_LESS PACKAGE_FIND_VERSION_MIN
            OR (PACKAGE_FIND_VERSION_RANGE_MAX STREQUAL "INCLUDE"
                AND PACKAGE_VERSION VERSION_GREATER PACKAGE_FIND_VERSION_MAX)
            OR (PACKAGE_FIND_VERSION_RANGE_MAX STREQUAL "EXCLUDE"
                AND NOT PACKAGE_VERSION VERSION_LESS PACKAGE_FIND_VERSION_MAX))
        set(PACKAGE_VERSION_COMPATIBLE FALSE)
    endif()
elseif(PACKAGE_FIND_VERSION)
    if(PACKAGE_VERSION VERSION_LESS PACKAGE_FIND_VERSION
            OR NOT PACKAGE_FIND_VERSION_MAJOR STREQUAL _pubsub_major
            OR (_pubsub_major STREQUAL "0" AND PACKAGE_FIND_VERSION_COUNT GREATER 1
                AND NOT PACKAGE_FIND_VERSION_MINOR STREQUAL _pubsub_minor))
        set(PACKAGE_VERSION_COMPATIBLE FALSE)
    elseif(PACKAGE_VERSION VERSION_EQUAL PACKAGE_FIND_VERSION)
        set(PACKAGE_VERSION_EXACT TRUE)
    endif()
endif()

unset(_pubsub_series)
unset(_pubsub_major)
unset(_pubsub_minor)
