//! Faults committed on purpose: these tests are worth something only if they find them.

use std::process::Command;

use crate::process::run_directory;

/// The fault, the test that must find it, and what that test must say (one of these).
const FAULTS: &[(&str, &str, &str)] = &[
    ("overflow unnoticed", "survivors::ids_beyond_the_fifo_are_found_when_a_stopped_receiver_goes_on", "LOST"),
    ("rung before linked", "points::killed_or_stopped_at_a_point_of_publishing", "LOST|ORDER"),
    ("a spent file counts as gone", "points::killed_or_stopped_at_a_point_of_publishing", "LOST"),
    ("figures never healed", "survivors::a_receiver_that_waits_heals_what_a_killed_publisher_left", "WEDGED"),
    ("drop counted late", "points::killed_or_stopped_at_a_point_of_publishing", "LOST"),
    ("delivered twice", "points::killed_or_stopped_at_a_point_of_receiving", "ORDER"),
    ("deleted in place", "survivors::a_channel_is_closed_under_publishers", "not empty"),
    ("unread messages stay", "points::killed_or_stopped_at_a_point_of_opening_closing_or_cleaning", "LEFT"),
    ("not taken back", "survivors::a_message_for_a_dead_receiver_is_taken_back", "STAYS"),
    ("full does not ring", "rings::who_is_refused_by_a_full_ring_wakes_its_receiver", "WEDGED"),
    (
        "bell before the token",
        "rings::a_publisher_that_dies_while_it_wakes_the_receiver_leaves_it_to_the_next",
        "WEDGED",
    ),
    ("bell stored", "rings::a_publisher_that_was_slow_to_wake_a_receiver_leaves_its_next_sleep_alone", "WEDGED"),
    (
        "one number for every sleep",
        "rings::a_publisher_that_was_slow_to_wake_a_receiver_leaves_its_next_sleep_alone",
        "WEDGED",
    ),
    (
        "salvage without a scan",
        "rings::unread_messages_in_the_chunk_of_a_dead_publisher_stay_whole",
        "NOT WHOLE|MALFORMED|ORDER",
    ),
    ("end off by one", "rings::the_last_unread_message_of_a_chunk_stays_whole", "NOT WHOLE|MALFORMED|ORDER"),
    ("punch without a mark", "rings::memory_that_is_being_given_back_is_not_written_to", "NOT WHOLE|LOST|MALFORMED"),
    ("state before the commit", "rings::a_message_committed_after_the_close_is_not_counted", "COUNTED"),
    ("no stealing", "rings::chunks_of_many_dead_publishers_are_used_again", "WASTED"),
    ("slots before their pages", "storm::a_full_file_system_is_an_error_and_no_signal_in_a_storm", "signal: 7"),
    (
        "pages said to be there before they are",
        "rings::memory_that_a_dead_publisher_was_about_to_take_is_not_touched",
        "signal: 7",
    ),
    ("no pages reserved", "storm::a_full_file_system_is_an_error_and_no_signal_in_a_storm", "signal: 7"),
    ("thief without the lock", "rings::nobody_takes_the_id_of_the_dead_under_a_thief", "NOT WHOLE|MALFORMED|ORDER"),
    ("salvaged as empty", "rings::a_message_that_is_being_copied_stays_whole", "NOT WHOLE|MALFORMED|ORDER"),
    ("drop without hazard", "rings::a_message_that_is_being_copied_stays_whole", "NOT WHOLE|MALFORMED|ORDER"),
    ("head before the word", "rings::a_chunk_in_use_is_not_taken_by_who_was_slow_to_look", "NOT WHOLE|MALFORMED|ORDER"),
    (
        "ids from a coarse clock",
        "storm::nothing_is_lost_doubled_reordered_or_left_in_a_storm",
        "ID TWICE|again and again",
    ),
    ("half a message", "storm::nothing_is_lost_doubled_reordered_or_left_in_a_storm", "MALFORMED"),
    (
        "reaps the living",
        "storm::nothing_is_lost_doubled_reordered_or_left_in_a_storm",
        "no directory any more|deleted by another",
    ),
];

/// Runs of a test before a fault counts as not found.
const ATTEMPTS: usize = 3;

#[test]
fn planted_faults_are_found() {
    let only = std::env::var("CRASH_ONLY").unwrap_or_default();
    let mut missed = Vec::new();
    for (fault, test, words) in FAULTS.iter().filter(|(fault, ..)| fault.contains(&only)) {
        // Where it takes a race to show, a busy machine may need another try.
        let tries: Vec<_> = (1..=ATTEMPTS).map_while(|seed| not_found(fault, test, words, seed)).collect();
        if tries.len() == ATTEMPTS {
            missed.extend(tries.into_iter().next_back());
        }
    }
    assert!(missed.is_empty(), "NOT FOUND: {}", missed.join("\n"));
}

/// Commits a fault in a run of a test; what it said unless it found the fault.
fn not_found(fault: &str, test: &str, words: &str, seed: usize) -> Option<String> {
    let directory = run_directory();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("PUBSUB_PLANT", fault).env("RUST_BACKTRACE", "0");
    command
        .env_remove("CRASH_ONLY")
        .env("PUBSUB_STORM_SECONDS", "3")
        .env_remove("PUBSUB_STORM_KILLS")
        .env("CRASH_SEED", seed.to_string());
    // What a failed run leaves goes with this directory.
    command.env("CRASH_DIRECTORY", directory.path());
    let begin = std::time::Instant::now();
    let output = command.output().unwrap();
    println!("{fault}: {:?}", begin.elapsed());
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success();
    let found = !passed && words.split('|').any(|words| text.contains(words));
    (!found).then(|| format!("'{fault}' by {test} (passed: {passed}), wanted '{words}' in:\n{text}"))
}
