pub fn draw(_: &std::path::Path, _: crate::Scale) -> Result<(), String> {
    Ok(())
}
