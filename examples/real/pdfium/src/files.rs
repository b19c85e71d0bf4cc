//! Makes PDF files, sound and hostile ones.

/// The side of a page in points: the height of A4.
pub const SIDE: u32 = 842;

/// A PDF with these pages, all of them square; `forms` are drawn by `/X0 Do`, `/X1 Do` and so on.
pub fn pdf(side: u32, contents: &[String], forms: &[String]) -> Vec<u8> {
    let names: String = (0..forms.len()).map(|index| format!("/X{index} {} 0 R ", 5 + index)).collect();
    let first_page = 5 + forms.len();
    let kids: String = (0..contents.len()).map(|index| format!("{} 0 R ", first_page + 2 * index)).collect();
    let mut objects = vec![
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        format!("<</Type/Pages/Count {}/Kids[{kids}]/MediaBox[0 0 {side} {side}]/Resources 4 0 R>>", contents.len()),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>".to_owned(),
        format!("<</Font<</F 3 0 R>>/XObject<<{names}>>>>"),
    ];
    for form in forms {
        let head =
            format!("<</Type/XObject/Subtype/Form/BBox[0 0 {side} {side}]/Resources 4 0 R/Length {}>>", form.len());
        objects.push(format!("{head}\nstream\n{form}\nendstream"));
    }
    for content in contents {
        objects.push(format!("<</Type/Page/Parent 2 0 R/Contents {} 0 R>>", objects.len() + 2));
        objects.push(format!("<</Length {}>>\nstream\n{content}\nendstream", content.len()));
    }

    let mut file = String::from("%PDF-1.4\n");
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (object, id) in objects.iter().zip(1..) {
        table += &format!("{:010} 00000 n \n", file.len());
        file += &format!("{id} 0 obj\n{object}\nendobj\n");
    }
    let start = file.len();
    file += &format!("{table}trailer\n<</Size {}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF\n", objects.len() + 1);
    file.into_bytes()
}

/// A page: lines of text over curves in colour.
pub fn content(page: i32) -> String {
    let mut random = page as u32 + 1;
    let mut next = |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % below
    };
    let mut content = String::new();
    for _ in 0..60 {
        let [a, b, c, d, e, f, g, h] = std::array::from_fn(|_| next(SIDE));
        let colour = format!("0.{} 0.{} 0.{} rg", next(10), next(10), next(10));
        content += &format!("{colour} {a} {b} m {c} {d} {e} {f} {g} {h} c f\n");
    }
    for line in 0..70 {
        let (top, geese) = (820 - 11 * line, next(1000));
        content += &format!("BT /F 10 Tf 0 g 20 {top} Td (Page {page}, line {line}: {geese} geese) Tj ET\n");
    }
    content
}

/// Forms of which each draws the next one ten times.
pub fn nested(levels: usize) -> Vec<String> {
    let mut forms: Vec<String> = (1..=levels).map(|next| format!("/X{next} Do ").repeat(10)).collect();
    forms.push("0 0 m 500 500 l S".to_owned());
    forms
}

/// Changes some bytes, or cuts the file.
pub fn mutate(file: &[u8], seed: u64) -> Vec<u8> {
    let mut random = seed + 1;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    let mut file = file.to_vec();
    for _ in 0..20 {
        let place = next(file.len());
        file[place] = next(256) as u8;
    }
    if seed.is_multiple_of(3) {
        file.truncate(next(file.len()));
    }
    file
}
