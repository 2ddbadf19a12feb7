//! Text in columns, and numbers with units, for people.

#![forbid(unsafe_code)]

/// Lines of aligned columns: those that `numbers` names to the right, words to the left, nothing behind the last.
pub fn columns<const N: usize>(numbers: [bool; N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut lines = String::new();
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .zip(numbers)
            .map(|((cell, width), number)| if number { format!("{cell:>width$}") } else { format!("{cell:<width$}") })
            .collect();
        lines.push_str(cells.join("  ").trim_end());
        lines.push('\n');
    }
    lines
}

/// A size in bytes with a binary unit and three digits or so: `17 B`, `1.5 KiB`, `64 MiB`.
pub fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        // 1023.5 would be shown as 1024.
        if value < 1023.5 || unit == "TiB" {
            let whole = value.fract() == 0.0 || value >= 99.95;
            return if whole { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    String::new()
}

/// A number of things in a short form: `950`, `12.3 k`, `1.20 M`.
pub fn amount(n: f64) -> String {
    match n {
        n if n < 9_999.5 && n.fract() == 0.0 => format!("{n:.0}"),
        n if n < 99.95 => format!("{n:.1}"),
        n if n < 9_999.5 => format!("{n:.0}"),
        n if n < 999_950.0 => format!("{:.1} k", n / 1e3),
        n => format!("{:.2} M", n / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["PATTERN", "PID", "P", "STATE"], ["a", "12345", "é", "live"]];
        let text = columns([false, true, false, false], &rows.map(|row| row.map(str::to_owned)));
        assert_eq!(text, "PATTERN    PID  P  STATE\na        12345  é  live\n");
    }

    #[test]
    fn sizes_and_amounts_have_few_digits() {
        let sizes = [0, 17, 1023, 1024, 1536, 102_300, 102_400, 67_108_864, 1 << 30, u64::MAX].map(bytes);
        assert_eq!(
            sizes,
            ["0 B", "17 B", "1023 B", "1 KiB", "1.5 KiB", "99.9 KiB", "100 KiB", "64 MiB", "1 GiB", "16777216 TiB"]
        );
        let amounts = [0.0, 0.25, 7.0, 99.9, 950.4, 9999.0, 12_345.0, 999_940.0, 1_200_000.0].map(amount);
        assert_eq!(amounts, ["0", "0.2", "7", "99.9", "950", "9999", "12.3 k", "999.9 k", "1.20 M"]);
    }
}
