#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn render(template: &str, cells: &[(&str, &str)]) -> Result<String, usize> {
    let columns: Vec<String> = cells.iter().map(|(name, _)| name.to_string()).collect();
    let fields: Vec<Option<String>> = cells.iter().map(|(_, cell)| Some(cell.to_string())).collect();
    let values = BTreeMap::from([(
        "Sex".to_string(),
        BTreeMap::from([("1".to_string(), "여".to_string()), ("".to_string(), "성별 미상".to_string())]),
    )]);
    let values = if template.contains("{Sex}") { values } else { BTreeMap::new() };
    let bound = Template::parse(template).unwrap().bind(Path::new("a.csv"), &columns, &values).unwrap();
    bound.render(&fields, &|cell| matches!(cell.unwrap_or_default().trim(), "" | "??"))
}

#[test]
fn renders_columns_optional_parts_words_and_escapes() {
    let template = "{Age}세 {Sex} 환자[ BT {BT}°C][, {HR}/{RR}] \\[\\{\\}\\]\\\\";
    let row = |bt, hr, rr, sex| render(template, &[("Age", " 71 "), ("BT", bt), ("HR", hr), ("RR", rr), ("Sex", sex)]);
    assert_eq!(row("36.6", "84", "18", "1").unwrap(), "71세 여 환자 BT 36.6°C, 84/18 [{}]\\");
    assert_eq!(row("??", "84", "", "2").unwrap(), "71세 2 환자 [{}]\\");
    assert_eq!(row("", "", "", " ").unwrap(), "71세 성별 미상 환자 [{}]\\");
    assert_eq!(render("{Age}세", &[("BT", "1"), ("Age", "??")]), Err(1), "missing outside of an optional part");
}

#[test]
fn errors_say_where_and_what() {
    for (template, expected) in [
        ("", "names no column"),
        ("fever", "names no column"),
        ("세{Age", "character 2: \"{\" is never closed"),
        ("{Age}}", "character 6: \"}\" without"),
        ("{Age}]", "character 6: \"]\" without"),
        ("{}", "character 1: \"{}\" names no column"),
        ("{A}[ x", "character 4: \"[\" is never closed"),
        ("{A}[ x ]", "character 4: an optional part without a column"),
        ("[{A}[{B}]]", "character 5: \"[\" inside"),
        ("{A{B}}", "character 3: expected \"}\""),
        ("{A}\\n", "character 4: expected one of"),
        ("{A}\\", "character 4: expected one of"),
    ] {
        let error = Template::parse(template).unwrap_err().to_string();
        assert!(error.contains(expected), "{template}: {error}");
    }
}

#[test]
fn unknown_columns_are_named_with_the_nearest() {
    let columns = vec!["Age".to_string(), "Chief_complain".to_string()];
    let template = Template::parse("{Age} {Chief complain}").unwrap();
    let error = template.bind(Path::new("a.csv"), &columns, &BTreeMap::new()).unwrap_err().to_string();
    assert!(error.contains("did you mean \"Chief_complain\""), "{error}");
    let template = Template::parse("{Age}").unwrap();
    let values = BTreeMap::from([("age".to_string(), BTreeMap::new())]);
    let error = template.bind(Path::new("a.csv"), &columns, &values).unwrap_err().to_string();
    assert!(error.contains("did you mean \"Age\""), "{error}");
}

fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if "{}[]\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused(template in "[\\[\\]{}\\\\a발 ]{0,20}") {
        let _ = Template::parse(&template);
    }

    /// Escaped text comes back as it was, around a column whose name needs escapes.
    #[test]
    fn escapes_stand_for_themselves(before in ".{0,10}", after in ".{0,10}", name in "[\\[\\]{}\\\\a발]{1,8}", cell in "[a-z]{1,5}") {
        let template = format!("{}{{{}}}[{}{{{}}}]", escape(&before), escape(&name), escape(&after), escape(&name));
        let rendered = render(&template, &[(&name, &cell)]).unwrap();
        prop_assert_eq!(rendered, format!("{before}{cell}{after}{cell}"));
    }
}
