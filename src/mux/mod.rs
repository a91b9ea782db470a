//! The routing core: decides who gets what. Bytes, keys and time in; verbs out.

pub mod policy;
