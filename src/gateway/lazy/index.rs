//! Ranked text search: BM25 over fields that count differently (BM25F, Robertson and Zaragoza 2009, §3.6).
//!
//! A word of a field counts by the field's weight, less in a long field; a document's score for a word of the
//! query is the word's rarity times its saturated count. A word that only begins like a word of the query, or
//! the other way round, counts less; of several such words the best one counts.
//!
//! Own code. `bm25` without its default features has no fields and no beginnings of words, and brings `fxhash`
//! (RUSTSEC-2025-0057). `probly-search` has fields and beginnings, and would replace about half of this file;
//! against it speak eight more crates (an older `hashbrown` and `cfg-if` beside ours among them), that it stands
//! a word of a query for all words that begin like it, however short it is and however many these are, and that
//! it does not find `issue` for `issues`.

use super::words::{WORD_MAX, cut, each_word, says_nothing};
use std::collections::HashMap;

/// What a document consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Name,
    Title,
    Server,
    Description,
    Parameters,
    ParameterTexts,
}

const FIELDS: usize = 6;

/// What a word counts, by [`Field`]: who asks knows what it is to be called, or what it does.
const WEIGHTS: [f32; FIELDS] = [4.0, 3.0, 1.0, 1.5, 1.0, 0.5];

/// How soon more of the same word stops counting, and how much the length of a field counts: the usual values.
const K1: f32 = 1.2;
const B: f32 = 0.75;

/// What the beginning of a word counts, before its share of the longer word.
const BEGINNING: f32 = 0.5;
/// Shortest beginning, in bytes.
const BEGINNING_MIN: usize = 3;
/// Most words of the index that one word of a query stands for.
const BEGINNINGS_MAX: usize = 64;
/// Most words of a query.
const QUERY_MAX: usize = 32;
/// Most words of a field; descriptions can be books.
const FIELD_MAX: usize = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Index {
    documents: usize,
    /// Sorted.
    words: Vec<Box<str>>,
    /// By word.
    found: Vec<Vec<Found>>,
}

/// A word in a document.
#[derive(Clone, Copy, Debug)]
struct Found {
    document: u32,
    /// Its count, weighted by fields and their lengths.
    count: f32,
}

/// A document that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its place in the order in which the documents were given.
    pub document: usize,
    pub score: f32,
}

/// What a search took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Words of the index that were looked at.
    pub words: usize,
    /// Documents in which they were found, all words together.
    pub found: usize,
}

/// An index on its way: texts document by document.
#[derive(Debug, Default)]
pub struct Builder {
    numbers: HashMap<Box<str>, u32>,
    /// Word and field of all that was read; what each counts depends on the average lengths, known in the end.
    read: Vec<(u32, u8)>,
    /// Where the documents end in `read`.
    ends: Vec<usize>,
    /// Words by field, of each document, and of the one that is being read.
    lengths: Vec<[u32; FIELDS]>,
    length: [u32; FIELDS],
}

impl Builder {
    /// More text of a field of the document that is being read.
    pub fn text(&mut self, field: Field, text: &str) {
        let Builder { numbers, read, length, .. } = self;
        let length = &mut length[field as usize];
        if *length as usize == FIELD_MAX {
            return;
        }
        each_word(cut(text, FIELD_MAX * WORD_MAX), |word| {
            if *length as usize == FIELD_MAX {
                return;
            }
            *length += 1;
            let next = numbers.len() as u32;
            let number = match numbers.get(word) {
                Some(number) => *number,
                None => *numbers.entry(word.into()).or_insert(next),
            };
            read.push((number, field as u8));
        });
    }

    /// The document has no more text.
    pub fn end_document(&mut self) {
        self.ends.push(self.read.len());
        self.lengths.push(std::mem::take(&mut self.length));
    }

    /// The index over the documents that have ended.
    pub fn finish(self) -> Index {
        let mut found = counted(self.numbers.len(), &self.read, &self.ends, &self.lengths);
        let mut sorted: Vec<(Box<str>, u32)> = self.numbers.into_iter().collect();
        sorted.sort_unstable();
        let found = sorted.iter().map(|(_, number)| std::mem::take(&mut found[*number as usize])).collect();
        let words = sorted.into_iter().map(|(word, _)| word).collect();
        Index { documents: self.lengths.len(), words, found }
    }
}

impl Index {
    /// The best documents for a query, best first, among those that `may` be found; equally good ones in their
    /// order.
    pub fn search(&self, query: &str, may: impl Fn(usize) -> bool, limit: usize) -> (Vec<Hit>, Effort) {
        let mut scores = vec![0.0f32; self.documents];
        let mut best = vec![0.0f32; self.documents];
        let mut effort = Effort::default();
        for word in words_of_query(query) {
            let meant = self.meant(&word);
            for (number, share) in &meant {
                let found = &self.found[*number];
                let rarity = self.rarity(found.len());
                effort.words += 1;
                effort.found += found.len();
                for Found { document, count } in found {
                    let score = share * rarity * count * (K1 + 1.0) / (K1 + count);
                    let best = &mut best[*document as usize];
                    *best = best.max(score);
                }
            }
            for (number, _) in &meant {
                for Found { document, .. } in &self.found[*number] {
                    scores[*document as usize] += std::mem::take(&mut best[*document as usize]);
                }
            }
        }
        let mut hits: Vec<Hit> = (0..self.documents)
            .filter(|document| scores[*document] > 0.0 && may(*document))
            .map(|document| Hit { document, score: scores[document] })
            .collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.document.cmp(&b.document)));
        hits.truncate(limit);
        (hits, effort)
    }

    /// All words that are found, in order.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|word| &**word)
    }

    /// Words of documents, each word of each document once.
    pub fn entries(&self) -> usize {
        self.found.iter().map(Vec::len).sum()
    }

    /// The words of the index that a word of a query may mean, and what each counts.
    fn meant(&self, word: &str) -> Vec<(usize, f32)> {
        let mut meant = Vec::new();
        let start = self.words.partition_point(|known| **known < *word);
        if self.words.get(start).is_some_and(|known| **known == *word) {
            meant.push((start, 1.0));
        }
        let share = |short: usize, long: usize| BEGINNING * short as f32 / long as f32;
        if word.len() >= BEGINNING_MIN {
            let longer = self.words[start..].iter().take_while(|known| known.starts_with(word));
            let longer = longer.enumerate().filter(|(_, known)| known.len() > word.len());
            meant.extend(
                longer.take(BEGINNINGS_MAX).map(|(n, known)| (start + n, share(word.len(), known.len()))),
            );
        }
        for end in (BEGINNING_MIN..word.len()).filter(|end| word.is_char_boundary(*end)) {
            if let Ok(number) = self.words.binary_search_by(|known| (**known).cmp(&word[..end])) {
                meant.push((number, share(end, word.len())));
            }
        }
        meant
    }

    /// Inverse document frequency, never below 0.
    fn rarity(&self, documents: usize) -> f32 {
        let (all, with) = (self.documents as f32, documents as f32);
        (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
    }
}

/// The documents of each word. `read` has the words of all documents, which end at `ends`.
fn counted(words: usize, read: &[(u32, u8)], ends: &[usize], lengths: &[[u32; FIELDS]]) -> Vec<Vec<Found>> {
    let mut averages = [0.0f32; FIELDS];
    for (field, average) in averages.iter_mut().enumerate() {
        let all: u64 = lengths.iter().map(|length| u64::from(length[field])).sum();
        *average = all as f32 / lengths.len() as f32;
    }
    let mut found: Vec<Vec<Found>> = vec![Vec::new(); words];
    let mut start = 0;
    for (document, end) in ends.iter().enumerate() {
        // What one word counts, by field; a field without words has none to count.
        let each: [f32; FIELDS] = std::array::from_fn(|field| {
            WEIGHTS[field] / (1.0 - B + B * lengths[document][field] as f32 / averages[field])
        });
        for (word, field) in &read[start..*end] {
            let count = each[usize::from(*field)];
            match found[*word as usize].last_mut() {
                Some(last) if last.document as usize == document => last.count += count,
                _ => found[*word as usize].push(Found { document: document as u32, count }),
            }
        }
        start = *end;
    }
    found
}

/// The words of a query, each once: those that say something, or all if none does.
fn words_of_query(query: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    each_word(cut(query, QUERY_MAX * WORD_MAX), |word| {
        if !words.iter().any(|known| known == word) {
            words.push(word.to_string());
        }
    });
    if words.iter().any(|word| !says_nothing(word)) {
        words.retain(|word| !says_nothing(word));
    }
    words.truncate(QUERY_MAX);
    words
}

#[cfg(test)]
mod tests;
