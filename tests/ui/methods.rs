use parallel_runtime::parallel;

struct Unannotated;

impl Unannotated {
    #[parallel]
    fn method(&self) -> u32 {
        1
    }
}

struct Bare;

#[parallel]
impl Bare {
    fn method(&self) -> u32 {
        1
    }
}

struct Keys;

#[parallel(mode = "process")]
impl Keys {
    #[parallel]
    fn method(&self) -> u32 {
        1
    }
}

#[parallel]
impl Clone for Keys {
    #[parallel]
    fn clone(&self) -> Self {
        Keys
    }
}

fn main() {}
