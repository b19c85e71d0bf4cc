//! Each verb once. Run it with `cargo run --example quickstart`.

use parallel_runtime::{ProcessPool, TaskError, cpu_count, parallel};

#[parallel(pool = 2, mode = "process")]
fn area(width: u64, height: u64) -> u64 {
    width * height
}

#[parallel]
fn double(numbers: &mut [f64]) {
    numbers.iter_mut().for_each(|number| *number *= 2.0);
}

#[parallel(mode = "process")]
fn fragile(x: u32) -> u32 {
    if x == 2 { std::process::abort() } else { x }
}

fn main() -> Result<(), TaskError> {
    println!("{} CPUs", cpu_count());
    println!("call        {}", area(3, 4));
    println!("submit      {}", area::submit(3, 4).join()?);
    println!("map         {:?}", area::map([(1, 2), (3, 4)]));
    println!("starmap     {:?}", area::starmap((1..4).map(|x| (x, x))));
    println!("map_async   {:?}", area::map_async([(5, 6)]).join()?);
    println!("spawn       {}", area::spawn(7, 8).join()?);
    println!("inline      {}", area::inline(7, 8));
    let pool = ProcessPool::new(3);
    println!("on          {:?}", area::on(&pool).map([(9, 9)]));
    println!("options     {:?}", area::options().chunk(2).map([(1, 1); 3]));
    for result in fragile::try_map([1, 2, 3]) {
        println!("try_map     {}", result.map_or_else(|error| error.to_string(), |x| x.to_string()));
    }
    let mut numbers = vec![1.0; 6];
    double::map(numbers.chunks_mut(2));
    println!("borrowed    {numbers:?}");
    Ok(())
}
