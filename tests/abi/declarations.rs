//! Reads what a C header declares: enough of C for headers in the manner of `abi.h`, and a panic for anything else.

use std::collections::BTreeMap;

/// A type, as its tokens with a space between, and a name.
pub type Typed = (String, String);

#[derive(Debug, Default)]
pub struct Declarations {
    /// `#define NAME value`, but for the include guard.
    pub macros: BTreeMap<String, String>,
    /// The fields, none for an opaque struct.
    pub structs: BTreeMap<String, Vec<Typed>>,
    /// Typedefs of function pointers, whole.
    pub callbacks: BTreeMap<String, String>,
    /// What it answers, and its parameters.
    pub functions: BTreeMap<String, (String, Vec<Typed>)>,
}

impl Declarations {
    pub fn read(header: &str) -> Declarations {
        let mut found = Declarations::default();
        let mut code = String::new();
        let mut for_cpp = false;
        for line in without_comments(header).lines() {
            let directive = line.trim().strip_prefix('#').map(str::trim);
            match directive {
                Some("ifdef __cplusplus") => for_cpp = true,
                Some(directive) if directive.starts_with("endif") => for_cpp = false,
                Some(directive) => {
                    if let Some(define) = directive.strip_prefix("define ") {
                        let (name, value) = define.trim().split_once(' ').unwrap_or((define, ""));
                        if name != "PUBSUB_H" {
                            let before = found.macros.insert(name.to_owned(), tokens(value).join(" "));
                            assert_eq!(before, None, "{name} is defined twice");
                        }
                    }
                }
                None if for_cpp => {}
                None => code += &format!("{line}\n"),
            }
        }
        for declaration in split(&tokens(&code), ";") {
            found.declare(&declaration);
        }
        found
    }

    fn declare(&mut self, declaration: &[String]) {
        let text = declaration.join(" ");
        if declaration.first().is_some_and(|first| first != "typedef") {
            let open = position(declaration, "(");
            let name = declaration[open - 1].clone();
            assert_eq!(declaration.last().map(String::as_str), Some(")"), "no function: {text}");
            let parameters = split(&declaration[open + 1..declaration.len() - 1], ",");
            let parameters = parameters.iter().filter(|p| p.as_slice() != ["void"]).map(|p| typed(p)).collect();
            let before = self.functions.insert(name, (declaration[..open - 1].join(" "), parameters));
            assert_eq!(before, None, "declared twice: {text}");
        } else if declaration.contains(&"{".to_owned()) {
            let (open, close) = (position(declaration, "{"), position(declaration, "}"));
            let name = &declaration[close + 1..];
            assert_eq!(&declaration[1..open], name, "tag and name of a struct differ: {text}");
            let fields = split(&declaration[open + 1..close], ";").iter().flat_map(|field| fields(field)).collect();
            self.structs.insert(name.join(" "), fields);
        } else if declaration.contains(&"(".to_owned()) {
            let name = declaration[position(declaration, "*") + 1].clone();
            self.callbacks.insert(name, text);
        } else {
            assert!(declaration.len() == 3 && declaration[1] == declaration[2], "no opaque struct: {text}");
            self.structs.entry(declaration[1].clone()).or_default();
        }
    }
}

fn position(tokens: &[String], token: &str) -> usize {
    tokens.iter().position(|t| t == token).unwrap_or_else(|| panic!("no '{token}' in: {}", tokens.join(" ")))
}

fn typed(declarator: &[String]) -> Typed {
    let (name, kind) = declarator.split_last().expect("a parameter");
    assert!(!kind.is_empty(), "a parameter without a name: {name}");
    (kind.join(" "), name.clone())
}

/// `const char *topic, *path` is two fields.
fn fields(declaration: &[String]) -> Vec<Typed> {
    let mut declarators = split(declaration, ",").into_iter();
    let first = declarators.next().expect("a field");
    let base: Vec<String> = first[..first.len() - 1].iter().filter(|&token| token != "*").cloned().collect();
    let others = declarators.map(|declarator| typed(&[base.clone(), declarator].concat()));
    std::iter::once(typed(&first)).chain(others).collect()
}

/// At a separator outside of all parentheses and braces.
fn split(tokens: &[String], separator: &str) -> Vec<Vec<String>> {
    let (mut depth, mut parts, mut part) = (0, Vec::new(), Vec::new());
    for token in tokens {
        match token.as_str() {
            "(" | "{" => depth += 1,
            ")" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 && token == separator {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(token.clone());
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

fn without_comments(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("/*").into_iter().chain(rest.find("//")).min() {
        code += &rest[..start];
        let (end, skip) = if rest[start..].starts_with("/*") { ("*/", 2) } else { ("\n", 0) };
        let length = rest[start..].find(end).expect("the end of a comment");
        code.push(' ');
        rest = &rest[start + length + skip..];
    }
    code + rest
}

/// Words and signs. `struct` before a type that has a typedef of the same name says nothing, so it is left out.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    for c in code.chars().chain([' ']) {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        if !c.is_whitespace() {
            tokens.push(c.to_string());
        }
    }
    tokens.retain(|token| token != "struct");
    tokens
}
