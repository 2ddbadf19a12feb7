//! Floating-point numbers as Python's `repr` writes them, and so its `json`.

#![forbid(unsafe_code)]

use std::fmt::Write;

/// Appends `number`: the shortest digits that read back as the same number; without an exponent from 1e-4 to below
/// 1e16; `NaN`, `Infinity`, `-Infinity`.
pub(crate) fn write(out: &mut String, number: f64) {
    if number.is_nan() {
        return out.push_str("NaN");
    }
    if number.is_sign_negative() {
        out.push('-');
    }
    if number.is_infinite() {
        return out.push_str("Infinity");
    }
    // `{:e}` is d.ddde±x with the shortest digits: at most 17 of them.
    let mut shortest = String::with_capacity(32);
    let _ = write!(shortest, "{:e}", number.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (first, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    match exponent {
        0..16 => {
            let before_point = exponent as usize; // of the fraction's digits
            out.push_str(first);
            if fraction.len() > before_point {
                out.push_str(&fraction[..before_point]);
                out.push('.');
                out.push_str(&fraction[before_point..]);
            } else {
                out.push_str(fraction);
                out.extend(std::iter::repeat_n('0', before_point - fraction.len()));
                out.push_str(".0");
            }
        }
        -4..0 => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
            out.push_str(first);
            out.push_str(fraction);
        }
        _ => {
            out.push_str(mantissa);
            let _ = write!(out, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (100.0, "100.0"),
            (1e15, "1000000000000000.0"),
            (9999999999999998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.5e16, "1.5e+16"),
            (1e22, "1e+22"),
            (1e100, "1e+100"),
            (123456789.12345679, "123456789.12345679"),
            (0.0001, "0.0001"),
            (0.00012, "0.00012"),
            (1e-5, "1e-05"),
            (2.5e-8, "2.5e-08"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (-f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let mut out = String::new();
            super::write(&mut out, number);
            assert_eq!(out, text);
        }
    }
}
