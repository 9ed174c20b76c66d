//! What a word that is none was meant to be: the nearest valid spelling, and how that is asked.

/// The candidate nearest to `word`, if it is near enough to be what was meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // One typing error in a short word, two in a longer one: with more a suggestion would mislead.
    let allowed = if word.len() <= 4 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The options that begin with this name. None where there are many: the help is shorter than such
/// a list.
pub(crate) fn longer<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let begins = |known: &&str| {
        let rest = known.strip_prefix(name);
        !name.is_empty() && rest.is_some_and(|rest| rest.starts_with('-'))
    };
    let longer: Vec<&str> = known.filter(begins).collect();
    if longer.len() > 3 { Vec::new() } else { longer }
}

/// `did you mean --grace or --max-runtime?`, or nothing where there is no suggestion.
pub(crate) fn question(names: &[&str], shown: impl Fn(&str) -> String) -> Option<String> {
    let (last, others) = names.split_last()?;
    let others: Vec<String> = others.iter().map(|name| shown(name)).collect();
    Some(if others.is_empty() {
        format!("did you mean {}?", shown(last))
    } else {
        format!("did you mean {} or {}?", others.join(", "), shown(last))
    })
}
