//! The C ABI from outside: the header against the normative one, the built libraries, and C programs that use them.
//!
//! What it needs beside cargo: a C and a C++ compiler (`CC`, `CXX`), binutils, and valgrind.

mod conformance;
mod declarations;
mod header;
mod library;
mod programs;
mod tools;
