//! Hosts the article.
