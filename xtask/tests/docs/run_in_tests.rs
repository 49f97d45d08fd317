//! Which commands tests run, as far as their text tells: the lists of words that are given to the tool.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Tests on servers, by the folders of their programs.
const FOLDERS: [&str; 3] = ["shop", "docker", "lab"];

/// One file of tests.
pub struct TestFile {
    /// Every word in quotes.
    words: BTreeSet<String>,
    /// Those of each list.
    lists: Vec<BTreeSet<String>>,
}

pub fn all(tests: &Path) -> Vec<TestFile> {
    let files = FOLDERS.iter().flat_map(|folder| fs::read_dir(tests.join(folder)).unwrap());
    let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    texts.map(|text| TestFile::read(&text)).collect()
}

impl TestFile {
    fn read(text: &str) -> TestFile {
        let mut file = TestFile { words: BTreeSet::new(), lists: Vec::new() };
        let mut open: Vec<BTreeSet<String>> = Vec::new();
        for line in text.lines() {
            // Every second part stands in quotes; what has escapes in it is no command.
            for (number, part) in line.split('"').enumerate() {
                if number % 2 == 1 {
                    for list in &mut open {
                        list.insert(part.to_string());
                    }
                    file.words.insert(part.to_string());
                    continue;
                }
                for sign in part.chars() {
                    match sign {
                        '[' => open.push(BTreeSet::new()),
                        ']' => file.lists.extend(open.pop()),
                        _ => {}
                    }
                }
            }
        }
        file
    }

    /// A list has all words that are not the reader's to choose; the command itself may stand where the list is used.
    pub fn runs(&self, words: &[String]) -> bool {
        let (command, rest) = words.split_first().unwrap();
        let chosen = |word: &&String| {
            word.starts_with(|c: char| c.is_ascii_uppercase())
                || word.contains(['/', '_'])
                || *word == "latest"
        };
        let fixed: Vec<&String> = rest.iter().filter(|word| !chosen(word)).collect();
        let has_all = |list: &BTreeSet<String>| fixed.iter().all(|word| list.contains(*word));
        match fixed.is_empty() {
            true => self.lists.iter().any(|list| list.contains(command)),
            false => self.words.contains(command) && self.lists.iter().any(has_all),
        }
    }
}
