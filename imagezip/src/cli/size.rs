//! Numbers on the command line.

/// Parses an amount of memory: `256M`, `2G`, `300000K`, or mebibytes without a unit, as the
/// deployed tools take it.
///
/// # Errors
/// When it is no number with such a unit.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).unwrap_or_default().to_ascii_uppercase().as_str() {
        "" | "M" | "MB" | "MIB" => 20,
        "K" | "KB" | "KIB" => 10,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(format!("'{text}': expected a size such as 256M or 2G")),
    };
    let number: u64 =
        digits.parse().map_err(|_| format!("'{text}': expected a size such as 256M"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("'{text}' is too large"))
}

/// Parses a number of threads.
///
/// # Errors
/// When it is not 1 to 1024.
pub fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        _ => Err("expected a number from 1 to 1024".into()),
    }
}

/// One thread a core, unless the system cannot tell.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::parse_memory;

    #[test]
    fn memory_has_units() {
        assert_eq!(parse_memory("64"), Ok(64 << 20));
        assert_eq!(parse_memory("64M"), Ok(64 << 20));
        assert_eq!(parse_memory("2GiB"), Ok(2 << 30));
        assert_eq!(parse_memory("100k"), Ok(100 << 10));
        assert!(parse_memory("M").is_err());
        assert!(parse_memory("12x").is_err());
        assert!(parse_memory("99999999999999G").is_err());
    }
}
