//! Recordings in memory.
