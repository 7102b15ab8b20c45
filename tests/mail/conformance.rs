//! Each way of being called, in each outcome.

use crate::limits;
use crate::machine::Machine;
use crate::outcomes::{self, Cell, Site};
use crate::table;
use crate::ways::{self, Way};

/// Sets up a machine of its own for one cell of the table, and measures it.
fn measure(way: &Way, outcome: &str, test: fn(&Site<'_>) -> Cell) {
    let Some(machine) = Machine::start(way.layers) else { return };
    let site = Site::new(way, &machine, outcome);
    table::enter(way.name, outcome, &test(&site));
}

/// Gives each way, in the order of the table, a module with a test for each outcome.
macro_rules! conformance {
    ($($module:ident = $way:path,)*) => {
        pub(crate) const WAYS: &[Way] = &[$($way),*];

        $(mod $module {
            use super::*;

            #[test]
            fn a_command_sees_nothing_of_the_mail_system() {
                limits::sees_nothing_of_the_mail_system(&$way);
            }

            conformance! { @outcomes $way;
                a_request_is_run_once_and_answered = run,
                a_request_that_its_key_may_not_make_is_answered_as_denied = denied,
                a_request_that_comes_again_is_not_run_again = replayed,
                mail_of_a_stranger_gets_no_octet_and_is_unchanged = not_for_us,
                a_damaged_request_is_neither_run_nor_answered = damaged,
                a_forged_request_is_neither_run_nor_answered = forged,
                a_broken_configuration_loses_no_request = configuration_broken,
                an_unusable_spool_loses_no_request = spool_unusable,
                a_full_disk_loses_no_request = disk_full,
                a_killed_program_loses_no_request = program_killed,
                a_missing_program_loses_no_request = program_missing,
                a_slow_command_delays_no_mail = slow_command,
                a_request_with_megabytes_behind_it_is_run = huge_mail,
                megabytes_of_output_are_cut_and_answered = huge_output,
                a_command_that_restarts_the_mail_system_is_answered = mail_system_restarted,
                a_request_to_two_addresses_is_run_once = two_recipients,
            }
        })*
    };
    (@outcomes $way:path; $($name:ident = $outcome:ident,)*) => {
        $(
            #[test]
            fn $name() {
                measure(&$way, stringify!($outcome), outcomes::$outcome);
            }
        )*
    };
}

conformance! {
    procmail_under_postfix = ways::postfix::PROCMAIL,
    procmail_under_exim = ways::exim::PROCMAIL,
    maildrop_under_postfix = ways::postfix::MAILDROP,
    dovecot_lda = ways::dovecot::LDA,
    dovecot_lmtp = ways::dovecot::LMTP,
    fdm = ways::fetch::FDM,
    fetchmail_to_procmail = ways::fetch::FETCHMAIL_TO_PROCMAIL,
    getmail_to_procmail = ways::fetch::GETMAIL_TO_PROCMAIL,
    postfix_forward = ways::postfix::FORWARD,
    postfix_alias = ways::postfix::ALIAS,
    postfix_pipe = ways::postfix::PIPE,
    exim_router = ways::exim::ROUTER,
    exim_forward = ways::exim::FORWARD,
    opensmtpd_mda = ways::opensmtpd::MDA,
    opensmtpd_forward = ways::opensmtpd::FORWARD,
    fetchmail = ways::fetch::FETCHMAIL,
    getmail = ways::fetch::GETMAIL,
}
