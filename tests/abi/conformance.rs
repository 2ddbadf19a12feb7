//! `include/pubsub.h` declares what the normative `abi.h` declares, and nothing else.

use std::fmt::Write;
use std::fs;

use crate::declarations::Declarations;
use crate::library::library;
use crate::tools::{cc, root, run, scratch};

const NORMATIVE: &str = include_str!("abi.h");

fn ours() -> Declarations {
    Declarations::read(&fs::read_to_string(root().join("include/pubsub.h")).expect("include/pubsub.h"))
}

fn normative() -> Declarations {
    Declarations::read(NORMATIVE)
}

#[test]
fn the_header_declares_what_the_normative_one_does_token_for_token() {
    let (ours, normative) = (ours(), normative());
    assert!(normative.functions.len() > 40 && normative.structs.len() > 8 && normative.macros.len() > 30);
    assert_eq!(ours.macros, normative.macros);
    assert_eq!(ours.structs, normative.structs);
    assert_eq!(ours.callbacks, normative.callbacks);
    assert_eq!(ours.functions, normative.functions);
}

/// The same by the compiler's judgement: it sees both headers, the normative one with its names changed.
#[test]
fn the_compiler_finds_every_type_size_offset_value_and_signature_as_the_normative_header_has_it() {
    let dir = scratch();
    fs::write(dir.path().join("normative.h"), renamed(NORMATIVE)).expect("writing the normative header");
    let source = dir.path().join("conformance.c");
    fs::write(&source, checks(&normative())).expect("writing the checks");
    let program = dir.path().join("conformance");
    run(cc()
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O0", "-I"])
        .arg(root().join("include"))
        .arg("-I")
        .arg(dir.path())
        .args(["-o".as_ref(), program.as_os_str(), source.as_os_str()])
        .args(library().link_shared(dir.path())));
    let said = run(&mut std::process::Command::new(program));
    let functions = normative().functions.len();
    assert_eq!(said, format!("{functions} functions\n"));
}

/// `ps_x` becomes `abi_x` and `PS_X` becomes `ABI_X`.
fn renamed(text: &str) -> String {
    text.replace("ps_", "abi_").replace("PS_", "ABI_").replace("PUBSUB_H", "ABI_H")
}

fn checks(normative: &Declarations) -> String {
    let mut c = String::from(
        "#include <stdio.h>\n#include <string.h>\n#include \"pubsub.h\"\n#include \"normative.h\"\n\
         #define SAME_TYPE(what, ...) _Static_assert(__builtin_types_compatible_p(__VA_ARGS__), what)\n",
    );
    let check = |c: &mut String, condition: String| writeln!(c, "_Static_assert({condition}, \"\");").expect("text");
    for (name, fields) in normative.structs.iter().filter(|(_, fields)| !fields.is_empty()) {
        check(&mut c, format!("sizeof({name}) == sizeof({})", renamed(name)));
        check(&mut c, format!("_Alignof({name}) == _Alignof({})", renamed(name)));
        for (kind, field) in fields {
            let other = renamed(name);
            check(&mut c, format!("offsetof({name}, {field}) == offsetof({other}, {field})"));
            writeln!(c, "SAME_TYPE(\"{name}.{field}\", __typeof__((({name} *)0)->{field}), {kind});").expect("text");
        }
    }
    let (initializers, numbers): (Vec<_>, Vec<_>) = normative.macros.keys().partition(|name| name.ends_with("_INIT"));
    for name in numbers {
        check(&mut c, format!("{name} == {}", renamed(name)));
        writeln!(c, "SAME_TYPE(\"{name}\", __typeof__({name}), __typeof__({}));", renamed(name)).expect("text");
    }
    for (name, whole) in &normative.callbacks {
        let other = format!("{name}_of_the_normative_header");
        writeln!(c, "{};", whole.replace(name, &other)).expect("text");
        writeln!(c, "SAME_TYPE(\"{name}\", {name}, {other});").expect("text");
    }
    for (name, (answer, parameters)) in &normative.functions {
        let types: Vec<&str> = parameters.iter().map(|(kind, _)| kind.as_str()).collect();
        let types = if types.is_empty() { "void".to_owned() } else { types.join(", ") };
        writeln!(c, "SAME_TYPE(\"{name}\", __typeof__({name}), {answer} ({types}));").expect("text");
    }
    // The linker finds each function, and the initializers have the same bytes.
    let table: String = normative.functions.keys().map(|name| format!("(void (*)(void)){name}, ")).collect();
    writeln!(c, "static void (*const functions[])(void) = {{{table}}};\nint main(void) {{").expect("text");
    for name in initializers {
        let kind = name.strip_suffix("_INIT").expect("an initializer").to_lowercase();
        writeln!(
            c,
            "    {{ {kind} ours = {name}; {} theirs = {}; if (memcmp(&ours, &theirs, sizeof ours)) return 1; }}",
            renamed(&kind),
            renamed(name)
        )
        .expect("text");
    }
    c += "    size_t count = 0;\n\
          \x20   for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) count += functions[i] != NULL;\n\
          \x20   printf(\"%zu functions\\n\", count);\n    return 0;\n}\n";
    c
}
