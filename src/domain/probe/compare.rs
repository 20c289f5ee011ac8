//! What a value in a node's answer is compared with: `>= 5`, `== "ok"`, `!= null`.
//!
//! It does not find the value and knows no time: a height that has to advance is followed in [`super::Height`].

use std::{cmp::Ordering, fmt, str::FromStr};

use serde_json::{Number, Value};

/// A comparison as the operator wrote it.
#[derive(Clone, Debug, PartialEq)]
pub enum Comparison {
    Equal(Value),
    Different(Value),
    /// An order between numbers.
    Ordered(Order, Number),
}

/// An order between numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Less,
    AtMost,
    AtLeast,
    Greater,
}

/// What is wrong with the text of a comparison.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComparisonError {
    /// It begins with none of the words.
    #[error("'{0}' is not a comparison: write advances, or ==, !=, <, <=, > or >= and a value, for example '>= 5'")]
    Form(String),
    /// What stands behind the operator is not a value.
    #[error("'{0}' is not a JSON value: numbers and true, false, null are written plainly, texts in double quotes")]
    Value(String),
    /// Lists and objects are not compared.
    #[error("'{0}' is a list or an object: point at one value in it instead")]
    NotScalar(String),
    /// Only numbers have an order.
    #[error("'{0}' is not a number, and only numbers are smaller or greater: use == or !=")]
    NotNumber(String),
}

/// Why a value cannot be compared: it is of another type than the operator expected. That says nothing of the node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} was found where {wanted} is expected")]
pub struct WrongType {
    found: &'static str,
    wanted: &'static str,
}

impl FromStr for Comparison {
    type Err = ComparisonError;

    fn from_str(text: &str) -> Result<Self, ComparisonError> {
        let text = text.trim();
        let operators = ["==", "!=", "<=", ">=", "<", ">"];
        let split = operators.iter().find_map(|operator| Some((*operator, text.strip_prefix(operator)?.trim())));
        let Some((operator, operand)) = split else { return Err(ComparisonError::Form(text.to_owned())) };
        let value: Value = serde_json::from_str(operand).map_err(|_| ComparisonError::Value(operand.to_owned()))?;
        if value.is_array() || value.is_object() {
            return Err(ComparisonError::NotScalar(operand.to_owned()));
        }
        let order = match operator {
            "==" => return Ok(Self::Equal(value)),
            "!=" => return Ok(Self::Different(value)),
            "<" => Order::Less,
            "<=" => Order::AtMost,
            ">=" => Order::AtLeast,
            _ => Order::Greater,
        };
        match value {
            Value::Number(number) => Ok(Self::Ordered(order, number)),
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                Err(ComparisonError::NotNumber(operand.to_owned()))
            }
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal(value) => write!(f, "== {value}"),
            Self::Different(value) => write!(f, "!= {value}"),
            Self::Ordered(order, number) => write!(f, "{order} {number}"),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::AtLeast => ">=",
            Self::Greater => ">",
        })
    }
}

impl Comparison {
    /// Whether it is true of what was found.
    ///
    /// # Errors
    /// When what was found is of a type that cannot be compared. Then it is neither true nor false.
    pub fn holds(&self, found: &Value) -> Result<bool, WrongType> {
        match self {
            Self::Equal(wanted) => equals(found, wanted),
            Self::Different(wanted) => equals(found, wanted).map(|equal| !equal),
            Self::Ordered(order, wanted) => ordered(found, *order, wanted),
        }
    }
}

/// Whether a value equals another. Null may be compared with everything: `!= null` asks whether something is there.
fn equals(found: &Value, wanted: &Value) -> Result<bool, WrongType> {
    match (found, wanted) {
        (Value::Number(found), Value::Number(wanted)) => Ok(compare(found, wanted) == Some(Ordering::Equal)),
        (Value::String(found), Value::String(wanted)) => Ok(found == wanted),
        (Value::Bool(found), Value::Bool(wanted)) => Ok(found == wanted),
        (found, Value::Null) => Ok(found.is_null()),
        (found, wanted) => Err(WrongType { found: kind(found), wanted: kind(wanted) }),
    }
}

/// Whether a value compares to a number as the operator says. Some nodes write numbers as texts, so `"1200"` and
/// `"0x4b0"` are numbers too.
fn ordered(found: &Value, order: Order, wanted: &Number) -> Result<bool, WrongType> {
    let wrong = || WrongType { found: kind(found), wanted: "a number" };
    let by = match found {
        Value::Number(found) => compare(found, wanted),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            let whole = Number::from_i128(whole(found).ok_or_else(wrong)?).ok_or_else(wrong)?;
            compare(&whole, wanted)
        }
    };
    let by = by.ok_or_else(wrong)?;
    Ok(match order {
        Order::Less => by.is_lt(),
        Order::AtMost => by.is_le(),
        Order::AtLeast => by.is_ge(),
        Order::Greater => by.is_gt(),
    })
}

/// A height: a whole number, or one written as a text in decimal or with `0x`.
///
/// # Errors
/// When it is none.
pub fn height(found: &Value) -> Result<i128, WrongType> {
    whole(found).ok_or_else(|| WrongType { found: kind(found), wanted: "a whole number" })
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number.as_i128(),
        Value::String(text) => match text.strip_prefix("0x") {
            // 16 digits are 64 bits; more is a hash, not a height.
            Some(digits) if digits.len() <= 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                i128::from_str_radix(digits, 16).ok()
            }
            Some(_) => None,
            None if text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            None => None,
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Exact for whole numbers, of any size that JSON has here; `None` only if one is not a number at all.
fn compare(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_comparison_is_read_back_as_it_is_shown() {
        for text in [">= 5", "< 0.5", "== \"ok\"", "!= null", "== false", "<= -3", "> 1"] {
            let comparison: Comparison = text.parse().unwrap();
            assert_eq!(comparison.to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_the_way_out() {
        for (text, said) in [
            ("", "write advances"),
            ("= 5", "write advances"),
            ("okay", "write advances"),
            ("== ok", "in double quotes"),
            (">=", "not a JSON value"),
            ("== [1]", "point at one value"),
            ("> \"a\"", "use == or !="),
            (">= 5 6", "not a JSON value"),
        ] {
            let error = text.parse::<Comparison>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn another_type_is_neither_true_nor_false() {
        assert!(equals(&json!("5"), &json!(5)).is_err());
        assert!(equals(&json!(null), &json!("ok")).is_err());
        assert!(ordered(&json!(true), Order::Less, &Number::from(5)).is_err());
        assert!(height(&json!(1.5)).is_err());
        assert!(height(&json!(format!("0x{}", "ab".repeat(32)))).is_err(), "a hash is no height");
        assert!(height(&json!("")).is_err() && height(&json!("-")).is_err());
    }

    #[test]
    fn null_can_be_asked_for() {
        assert_eq!(equals(&json!({"code": -28}), &json!(null)), Ok(false));
        assert_eq!(equals(&json!(null), &json!(null)), Ok(true));
    }

    #[test]
    fn numbers_are_compared_exactly_and_as_nodes_write_them() {
        let big = 9_007_199_254_740_993_u64;
        assert_eq!(equals(&json!(big), &json!(big - 1)), Ok(false), "one apart, though the same as a float");
        assert_eq!(equals(&json!(5), &json!(5.0)), Ok(true));
        assert_eq!(ordered(&json!("0x10"), Order::AtLeast, &Number::from(16)), Ok(true));
        assert_eq!(ordered(&json!("15"), Order::AtLeast, &Number::from(16)), Ok(false));
        assert_eq!(height(&json!("0x4b0")), Ok(1200));
        assert_eq!(height(&json!("1200")), Ok(1200));
    }
}
