//! Each way of being called, in each outcome.

use crate::machine::Machine;
use crate::outcomes::{self, Cell, Site};
use crate::table;
use crate::ways::{self, Way};

/// Sets up a machine of its own for one cell of the table, and measures it.
fn measure(way: &Way, outcome: &str, test: fn(&Site<'_>) -> Cell) {
    let Some(machine) = Machine::start(way.layers) else { return };
    let site = Site::new(way, &machine);
    table::enter(way.name, outcome, &test(&site));
}

/// The outcomes of a way, a test each.
macro_rules! conformance {
    ($module:ident, $way:path) => {
        mod $module {
            use super::*;

            conformance! { @tests $way;
                a_request_is_run_once_and_answered = "run", run;
                a_request_that_its_key_may_not_make_is_answered_as_denied = "denied", denied;
                a_request_that_comes_again_is_not_run_again = "replayed", replayed;
                mail_of_a_stranger_gets_no_octet_and_is_unchanged = "not for us", not_for_us;
                a_damaged_request_is_neither_run_nor_answered = "damaged", damaged;
                a_forged_request_is_neither_run_nor_answered = "forged", forged;
                a_broken_configuration_loses_no_request = "configuration broken", configuration_broken;
                an_unusable_spool_loses_no_request = "spool unusable", spool_unusable;
                a_full_disk_loses_no_request = "disk full", disk_full;
                a_killed_program_loses_no_request = "program killed", program_killed;
                a_missing_program_loses_no_request = "program missing", program_missing;
                a_slow_command_delays_no_mail = "slow command", slow_command;
                a_request_with_megabytes_behind_it_is_run = "huge mail", huge_mail;
                megabytes_of_output_are_cut_and_answered = "huge output", huge_output;
                a_command_that_restarts_the_mail_system_is_answered = "mail system restarted", restart;
                a_request_to_two_addresses_is_run_once = "two recipients", two_recipients;
            }
        }
    };
    (@tests $way:path; $($name:ident = $outcome:literal, $test:ident;)*) => {
        $(
            #[test]
            fn $name() {
                measure(&$way, $outcome, outcomes::$test);
            }
        )*
    };
}

conformance! { procmail_under_postfix, ways::postfix::PROCMAIL }
