//! What `check` prints: as text, JSON, JUnit, HTML, and as annotations.

pub(crate) mod compare;
pub(crate) mod github;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod text;
