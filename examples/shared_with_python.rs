//! One array, two programs: Python (its standard library; NumPy where it is installed) and worker processes of ours work on the same
//! memory, each way, without copying.
//!
//! ```sh
//! cargo run --release --example shared_with_python
//! ```

use std::process::Command;

use parallel_runtime::{SharedVec, parallel};

#[parallel(mode = "process", pool = 2)]
fn double(part: &mut [f64]) -> f64 {
    part.iter_mut().for_each(|number| *number *= 2.0);
    part.iter().sum()
}

/// Opens the segment whose name it is given, adds 1 to each number, and prints their sum.
const PYTHON: &str = r#"
import sys
from multiprocessing import resource_tracker, shared_memory

# Before Python 3.13 a process that opens a segment also removes it at its end: this one is ours.
resource_tracker.register = lambda *_: None
memory = shared_memory.SharedMemory(name=sys.argv[1])
try:
    import numpy
    array = numpy.ndarray((memory.size // 8,), dtype=numpy.float64, buffer=memory.buf)
    array += 1
    total = array.sum()
except ImportError:
    array = memory.buf.cast("d")
    for index, number in enumerate(array):
        array[index] = number + 1
    total = sum(array)
print(total)
del array
memory.close()
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("parallel_example_{}", std::process::id());
    // SAFETY: Python has it only while its process runs, and nothing here uses the numbers meanwhile.
    let mut numbers = unsafe { SharedVec::<f64>::create_named(&name, 1_000_000) }?;
    numbers.iter_mut().enumerate().for_each(|(index, number)| *number = index as f64);

    let sums = double::map(numbers.chunks_mut(100_000));
    println!("our workers have doubled them: the sum is {}", sums.iter().sum::<f64>());

    match Command::new("python3").args(["-c", PYTHON, &name]).output() {
        Ok(output) if output.status.success() => {
            println!("Python has added 1 to each: the sum is {}", String::from_utf8_lossy(&output.stdout).trim());
            assert_eq!(numbers[999_999], 2.0 * 999_999.0 + 1.0);
        }
        Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into()),
        Err(error) => println!("python3 does not run here: {error}"),
    }
    println!("here the last one is {}", numbers[999_999]);
    Ok(())
}
