//! placeholder until merge
/// placeholder
#[derive(Debug, thiserror::Error)]
pub enum AmendError {
    /// no text
    #[error("it is not UTF-8 text")]
    NotText,
}
/// p
pub fn kernel_args(text: &str, _add: &[String], _remove: &[String]) -> Result<String, AmendError> {
    Ok(text.to_owned())
}
/// p
pub fn config_txt(
    text: &str,
    _s: &str,
    _a: &[(String, String)],
    _r: &[String],
) -> Result<String, AmendError> {
    Ok(text.to_owned())
}
/// p
pub fn fstab(text: &str, _m: &str, _l: Option<&str>) -> Result<String, AmendError> {
    Ok(text.to_owned())
}
