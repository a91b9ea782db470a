use super::*;

type Texts<'a> = Vec<(Field, &'a str)>;

fn index_of<'a>(documents: impl IntoIterator<Item = Texts<'a>>) -> Index {
    let mut builder = Builder::default();
    for texts in documents {
        for (field, text) in texts {
            builder.text(field, text);
        }
        builder.end_document();
    }
    builder.finish()
}

fn named(names: &[&str]) -> Index {
    index_of(names.iter().map(|name| vec![(Field::Name, *name)]))
}

fn scores(index: &Index, query: &str) -> Vec<(usize, f32)> {
    let (hits, _) = index.search(query, |_| true, 100);
    hits.iter().map(|hit| (hit.document, hit.score)).collect()
}

#[track_caller]
fn assert_close(found: &[(usize, f32)], wanted: &[(usize, f64)]) {
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found.0, wanted.0);
        assert!((f64::from(found.1) - wanted.1).abs() < 1e-4, "{found:?} for {wanted:?}");
    }
}

/// Two documents of 2 and 1 words, 1.5 on average, so a word counts 4 / (0.25 + 0.75 · 2 / 1.5) = 3.2 in the
/// first and 4 / (0.25 + 0.75 · 1 / 1.5) = 5.333 in the second.
#[test]
fn scores_are_those_computed_by_hand() {
    let index = named(&["alpha beta", "alpha"]);
    // In one of two: ln(1 + 1.5 / 1.5) = 0.693147, times 3.2 · 2.2 / 4.4 = 1.6.
    assert_close(&scores(&index, "beta"), &[(0, 1.109_035)]);
    // In both: ln(1 + 0.5 / 2.5) = 0.182322, times 5.3333 · 2.2 / 6.5333 = 1.795918, or 1.6.
    assert_close(&scores(&index, "alpha"), &[(1, 0.327_435), (0, 0.291_714)]);
    // The sum; said twice is said once.
    assert_close(&scores(&index, "alpha beta, ALPHA"), &[(0, 1.400_750), (1, 0.327_435)]);
    assert_close(&scores(&index, "gamma"), &[]);
}

/// In the second document, `x` counts by its two fields: 4 in the name (all names have one word), and in the
/// description 1.5 / (0.25 + 0.75 · 3 / 1.5) = 0.857143 each time, which is 5.714286 together.
#[test]
fn fields_add_up_by_their_weights() {
    let index = index_of([
        vec![(Field::Name, "y")],
        vec![(Field::Name, "x"), (Field::Description, "x z"), (Field::Description, "x")],
    ]);
    // 0.693147 · 5.714286 · 2.2 / 6.914286
    assert_close(&scores(&index, "x"), &[(1, 1.260_267)]);
    // 0.693147 · 0.857143 · 2.2 / 2.057143
    assert_close(&scores(&index, "z"), &[(1, 0.635_385)]);
}

/// A beginning counts half its share of the longer word, whichever of the two is longer.
#[test]
fn beginnings_count_less() {
    let index = named(&["issues", "other"]);
    let whole = scores(&index, "issues")[0].1;
    assert_close(&scores(&index, "issue"), &[(0, f64::from(whole) * 0.5 * 5.0 / 6.0)]);
    assert_close(&scores(&index, "issuesome"), &[(0, f64::from(whole) * 0.5 * 6.0 / 9.0)]);
    assert_close(&scores(&index, "is"), &[]);
    assert_close(&scores(&index, "sues"), &[]);
    // Of several words the best counts, so many of them are not better than the one that was meant.
    let index = named(&["config", "conf1 conf2 conf3 conf4", "confer"]);
    assert_eq!(scores(&index, "conf")[0].0, 1, "the whole word");
    let index = named(&["contact", "contactless contactor contacts contacting"]);
    assert_eq!(scores(&index, "contact")[0].0, 0);
}

#[test]
fn what_was_meant_is_first() {
    let tool = |name, description| {
        vec![(Field::Server, "github"), (Field::Name, name), (Field::Description, description)]
    };
    let index = index_of([
        tool("create_issue", "Open a new issue in a repository."),
        tool("list_issues", "List the issues of a repository."),
        tool("createPullRequest", "Open a pull request; may close an issue."),
        tool("search_code", "Find code in all repositories."),
    ]);
    let first = |query: &str| scores(&index, query).first().map(|(document, _)| *document);
    assert_eq!(first("I want to create an issue"), Some(0));
    assert_eq!(first("issues list"), Some(1));
    assert_eq!(first("pull request"), Some(2));
    assert_eq!(first("createpullrequest"), Some(2));
    assert_eq!(first("searching code"), Some(3));
    assert_eq!(first("of in the"), Some(1), "if there is nothing better");
    assert_eq!(first(""), None);
    let (hits, _) = index.search("issue", |document| document > 0, 1);
    assert_eq!(hits.iter().map(|hit| hit.document).collect::<Vec<_>>(), [1]);
}

#[test]
fn nothing_is_found_in_nothing() {
    assert_close(&scores(&index_of([]), "x"), &[]);
    assert_close(&scores(&index_of([vec![]]), "x"), &[]);
}

/// What is given is bounded: a long query, a long text, and many words with one beginning.
#[test]
fn effort_has_bounds() {
    let many: String = (0..5_000).map(|n| format!("word{n}x ")).collect();
    let index = index_of([vec![(Field::Description, &*many)]]);
    // `word`, `0`, `x` and `word0x` for each: four of the thousand that are read.
    assert_eq!(index.words.len(), 250 + 250 + 2);
    let (_, effort) = index.search("wor", |_| true, 10);
    assert_eq!(effort, Effort { words: BEGINNINGS_MAX, found: BEGINNINGS_MAX });
    let (_, effort) = index.search(&many, |_| true, 10);
    assert!(effort.words <= QUERY_MAX * (BEGINNINGS_MAX + WORD_MAX), "{effort:?}");
}

/// Whatever the texts are: nothing panics, scores are numbers, and a document is found by all of its words.
#[test]
fn any_text_is_found_by_its_words() {
    let letters: Vec<char> = "aabbcXYZ019__.- \n\"ßéÉΣσ文件ン한글\u{301}\u{1f600}".chars().collect();
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..300 {
        let texts: Vec<String> =
            (0..4).map(|_| (0..random(40)).map(|_| letters[random(letters.len())]).collect()).collect();
        let index = index_of(texts.iter().map(|text| vec![(Field::Description, &**text)]));
        for (document, text) in texts.iter().enumerate() {
            let found = scores(&index, text);
            assert!(found.iter().all(|(_, score)| score.is_finite() && *score > 0.0), "{text:?}: {found:?}");
            each_word(text, |word| {
                let found = scores(&index, word);
                assert!(found.iter().any(|(found, _)| *found == document), "{word:?} of {text:?}: {found:?}");
            });
        }
    }
}
