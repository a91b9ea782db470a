//! JSON skipper: checks structure, remembers spans, bounded depth.
