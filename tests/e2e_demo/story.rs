//! `make run` comes to its end: the story checks on its own that every answer reached its asker, and that two
//! clients of one server shared one process with one handshake.

#[path = "../../examples/story.rs"]
#[allow(dead_code)]
mod told;

#[test]
fn the_story_of_make_run_comes_to_its_end() {
    let muxloop = std::path::Path::new(env!("CARGO_BIN_EXE_muxloop"));
    if let Err(error) = told::tell(muxloop) {
        panic!("the story broke off: {error}");
    }
}
