//! The C ABI: one file per C noun. Each function converts its arguments, calls the Rust API behind the guard, and
//! converts the answer; it decides nothing itself.
//!
//! The conventions, from which every signature can be predicted:
//!
//! - **Names**: `ps_<noun>_<verb>`; types `ps_<noun>`; constants `PS_<GROUP>_<NAME>`. A constructor is `_open`, `_new` or
//!   `_parse`, its destructor `_close` or `_free`. A destructor takes NULL and does nothing with it.
//! - **Answers**: a function that can fail returns `int`, or `int64_t` where it counts things: negative is a `PS_ERR_*`,
//!   anything else the answer. What else it yields goes through pointers, last in the list, written only on success
//!   (one exception: `ps_fetch_packed` says in `*used` how much room it needed).
//! - **Errors**: the sentence is kept for the calling thread ([`error::ps_last_error`]); success leaves it as it is.
//! - **Panics** never cross: the [`guard`] turns them into `PS_ERR_INTERNAL`, or into NULL, 0 or nothing where a function
//!   has no error to answer. They print nothing.
//! - **Strings in** are NUL-terminated UTF-8; where a length stands beside one it counts bytes, or is
//!   `PS_NUL_TERMINATED`. **Bytes in** are a pointer and a length, NULL only with 0. **Strings out** end in NUL and
//!   have a length beside them where they may hold one.
//! - **Options** are structs that begin with their `size`, so that fields can be appended ([`arguments::options`]);
//!   NULL means the defaults.
//! - **Timeouts** are milliseconds: `PS_FOREVER`, 0, or more.
//! - **Memory**: what the library allocates, the library frees, on any thread.
//! - **Threads**: a channel's receiving functions one thread at a time (a second caller gets an error, not undefined
//!   behaviour: [`channel::ps_channel`]); publishers from any thread; `ps_channel_interrupt` from anywhere.
//!
//! The doc comments are what C programmers read: cbindgen copies them into `include/pubsub.h`. They therefore speak C.

#![allow(non_camel_case_types)]

mod arguments;
mod channel;
mod error;
mod guard;
mod headers;
mod message;
mod publisher;
mod rpc;
mod stats;
mod store;
mod text;
mod topics;

use crate::{Channel, Headers, Interrupter, Message, Monitor, Publisher};

/// What the header promises about threads rests on these.
const _: () = {
    const fn any_thread_may_own<T: Send>() {}
    const fn threads_may_share<T: Sync>() {}
    any_thread_may_own::<Channel>();
    any_thread_may_own::<Message>();
    any_thread_may_own::<Headers>();
    any_thread_may_own::<Publisher>();
    threads_may_share::<Headers>();
    threads_may_share::<Interrupter>();
    threads_may_share::<Monitor>();
    threads_may_share::<Publisher>();
};
