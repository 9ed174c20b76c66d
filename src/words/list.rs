//! Comma-separated lists.

/// The words of a comma-separated list and the byte at which each begins, without empty ones.
pub(crate) fn list(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split(',').filter_map(move |part| {
        let at = start + (part.len() - part.trim_start().len());
        start += part.len() + 1;
        let word = part.trim();
        (!word.is_empty()).then_some((at, word))
    })
}
