//! The HTTP front of the built binary over real sockets. What timing makes hard to bring about here is left
//! to `src/front/tests.rs`, the codec to its own tests and fuzz targets, WebSocket, rate limits, metrics and
//! the dashboard to the tests beside them.
//!
//! | row, rule | shown by |
//! |---|---|
//! | G01 | `wire::*`, `listeners::several_addresses_…`, `hostile::two_hundred_slow_clients_…`; `front::tests::patience` (times) |
//! | G02 | `legacy::*`, `streams::*` |
//! | G03 | `modern::*` |
//! | G04, P37 | `events::*` |
//! | G06 | `legacy::too_many_sessions_…`, `sessions_that_were_left_…`, `a_session_that_nobody_uses_ends`; `hostile::ten_thousand_abandoned_sessions_…`, `streams_that_nobody_reads_…` |
//! | H01 | `gateway::*` |
//! | G07, P26–P28, P56 | `guards::*` |
//! | A08 for HTTP | `listeners::a_reload_…`; `drain::*` |
//! | N05 for HTTP | `wire::nothing_can_be_smuggled_…`, `what_is_too_large_…`, `other_protocols_…`, `legacy::bodies_that_are_no_message_…` |
//! | N06 for HTTP, P58 | `hostile::*`, `wire::connections_that_end_anywhere_leave_nothing` |
//! | P03, P08 | `legacy::ids_come_back_as_they_were`, `equal_ids_of_many_sessions_…`, `modern::equal_ids_and_tokens_…` |
//! | P05, P06 | `legacy::every_version_of_the_handshake_gets_a_session` |
//! | P09, P10 | `streams::a_cancelled_request_…`, `the_end_of_a_session_…`, `events::the_end_of_the_stream_ends_everything` |
//! | P11 | `streams::a_resume_gives_exactly_what_was_missed_…`, `modern::a_dropped_connection_cancels_its_request` |
//! | P12, P15 | `streams::a_server_asks_…`, `nobody_answers_in_the_place_of_another_session`, `each_client_has_a_process_of_its_own_…` |
//! | P22 | `streams::the_death_of_the_server_is_told_on_the_stream`, `hostile::the_death_of_the_server_answers_everybody` |
//! | P25 | `legacy::notifications_and_answers_are_accepted_…`, `modern::only_single_requests_are_taken` |
//! | P29, P30 | `legacy::sessions_that_are_missing_…`, `guards::a_session_id_is_not_enough_at_another_server` |
//! | P31 | `legacy::the_version_header_must_be_a_version` |
//! | P32 | `legacy::media_types_are_checked`, `bodies_that_are_no_message_are_refused` |
//! | P33 | `legacy::arrays_are_for_the_one_version_that_has_them` |
//! | P34 | `streams::what_belongs_to_no_request_…`, `sessions_of_one_server_never_see_…`; `front::tests::legacy` |
//! | P35 | `streams::a_resume_…`, `the_sessions_own_stream_can_be_resumed` |
//! | P36 | `streams::only_new_clients_get_the_priming_event` |
//! | P38 | `modern::what_must_be_in_meta_is_missed` |
//! | P39 | `modern::unknown_versions_are_told_the_known_ones` |
//! | P40 | `modern::headers_must_say_what_the_body_says` |
//! | P41 | `modern::methods_that_are_gone_or_unknown_are_not_found` |
//! | P42 | `modern::requests_are_answered_without_a_session`, `a_stream_has_no_ids_…` |
//! | P43, P44 | `modern::discovery_and_lists_carry_what_they_must` |
//! | P16–P19, P45–P47 between the eras | `changes::*` |
//! | P45, P46 | `modern::a_listen_gets_…`, `an_open_listen_is_completed_when_muxloop_stops` |
//! | P47 | `modern::log_messages_come_only_if_asked_for` |
//! | P48 | `questions::*` |
//! | P49 | `rounds::*` |

mod changes;
mod drain;
mod events;
#[cfg(feature = "gateway")]
mod gateway;
mod guards;
mod hostile;
mod legacy;
mod listeners;
mod modern;
mod questions;
mod rounds;
mod streams;
mod support;
mod wire;
