use parallel_runtime::parallel;

#[parallel]
unsafe fn not_safe(x: u32) -> u32 {
    x
}

#[parallel]
const fn constant(x: u32) -> u32 {
    x
}

#[parallel]
extern "C" fn foreign(x: u32) -> u32 {
    x
}

#[parallel]
async fn asynchronous(x: &u32, text: std::borrow::Cow<'_, str>) -> u32 {
    *x + text.len() as u32
}

#[parallel]
fn anonymous(x: impl Copy) -> impl Copy {
    x
}

#[parallel]
fn never() -> ! {
    loop {}
}

#[parallel]
struct NotAFunction;

fn main() {}
