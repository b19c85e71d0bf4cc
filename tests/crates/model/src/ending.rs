//! What a task came to is put in once and taken out once, and a thread that waits for it to leave the queue sees that it has.

use loom::sync::Arc;
use loom::thread;

use crate::record::{Phase, Record, Together};

struct Tasks {
    records: [Record<Box<u32>>; 2],
    together: Together,
}

fn check(preemptions: usize, test: impl Fn(&Arc<Tasks>) + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    // Threads that meet another that has the outcome yield.
    model.max_branches = 10_000;
    model.check(move || test(&Arc::new(Tasks { records: [Record::new(), Record::new()], together: Together::new() })));
}

impl Tasks {
    fn finish(&self, value: u32) -> bool {
        self.records[0].finish(&self.together, Box::new(value), false, || {})
    }

    fn board_together(&self) {
        self.together.board(3, 7, self.records.iter());
    }

    /// Waits until a task is in a slot, or has ended.
    fn wait(&self, index: usize) -> Phase {
        loop {
            match self.records[index].phase(&self.together) {
                Phase::Queued => self.records[index].sleep_while_queued(&self.together, None),
                phase => return phase,
            }
        }
    }
}

#[test]
fn of_several_threads_one_takes_the_outcome() {
    check(3, |tasks| {
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let tasks = Arc::clone(tasks);
                thread::spawn(move || tasks.records[0].take().map(|value| *value))
            })
            .collect();
        assert!(tasks.finish(5));
        let mut taken: Vec<u32> = takers.into_iter().filter_map(|taker| taker.join().unwrap()).collect();
        taken.extend(tasks.records[0].take().map(|value| *value));
        assert_eq!(taken, [5]);
        assert!(tasks.records[0].is_finished() && tasks.records[0].take().is_none());
    });
}

#[test]
fn a_look_and_a_thread_that_takes_keep_out_of_each_others_way() {
    check(3, |tasks| {
        let (looks, takes) = (Arc::clone(tasks), Arc::clone(tasks));
        let looks = thread::spawn(move || looks.records[0].look(|value| **value));
        let takes = thread::spawn(move || takes.records[0].take().map(|value| *value));
        assert!(tasks.finish(5));
        let seen = looks.join().unwrap();
        assert!(seen.is_none_or(|seen| seen == 5));
        let taken = takes.join().unwrap().or_else(|| tasks.records[0].take().map(|value| *value));
        assert_eq!(taken, Some(5));
    });
}

#[test]
fn of_two_ends_one_counts() {
    check(3, |tasks| {
        let other = Arc::clone(tasks);
        let other = thread::spawn(move || other.finish(6));
        let (ours, theirs) = (tasks.finish(5), other.join().unwrap());
        assert!(ours != theirs);
        assert_eq!(tasks.records[0].take(), Some(Box::new(if ours { 5 } else { 6 })));
    });
}

#[test]
fn a_thread_that_waits_sees_that_its_task_has_left_the_queue() {
    check(3, |tasks| {
        let waits = Arc::clone(tasks);
        let waits = thread::spawn(move || waits.wait(1));
        tasks.board_together();
        assert_eq!(waits.join().unwrap(), Phase::Boarded { slot: 3, generation: 7 });
    });
    check(3, |tasks| {
        let waits = Arc::clone(tasks);
        let waits = thread::spawn(move || waits.wait(0));
        // It is taken out, goes alone, and ends.
        tasks.records[0].requeue(&tasks.together);
        tasks.records[0].board(&tasks.together, 4, 9);
        assert!(tasks.finish(5));
        let phase = waits.join().unwrap();
        assert!(matches!(phase, Phase::Finished | Phase::Boarded { slot: 4, generation: 9 }), "{phase:?}");
    });
    check(3, |tasks| {
        let waits = Arc::clone(tasks);
        let waits = thread::spawn(move || waits.wait(0));
        // It ends in the queue.
        assert!(tasks.finish(5));
        assert_eq!(waits.join().unwrap(), Phase::Finished);
    });
}

const NUMBER: u64 = 1 << 40;

#[test]
fn tasks_that_come_back_to_the_queue_wait_there_after_any_thread_has_slept() {
    check(3, |tasks| {
        let waits = Arc::clone(tasks);
        let waits = thread::spawn(move || {
            loop {
                match waits.wait(1) {
                    // Its number in the queue, read in place of the slot: no slot has that generation, and the thread looks again.
                    Phase::Boarded { generation: NUMBER, .. } => thread::yield_now(),
                    phase => return phase,
                }
            }
        });
        tasks.board_together();
        tasks.together.requeue(tasks.records.iter());
        tasks.records.iter().for_each(|record| record.set_number(NUMBER));
        assert_eq!(tasks.records[1].phase(&tasks.together), Phase::Queued);
        tasks.together.board(5, 8, tasks.records.iter());
        assert_eq!(tasks.records[1].phase(&tasks.together), Phase::Boarded { slot: 5, generation: 8 });
        // It may have seen the first place, or the second.
        let seen = waits.join().unwrap();
        let places = [(3, 7), (5, 8)].map(|(slot, generation)| Phase::Boarded { slot, generation });
        assert!(places.contains(&seen), "{seen:?}");
    });
}
