//! The built binary as its users meet it: a `mux.toml`, real child processes that misbehave on request, clients
//! on the sockets. What happens inside is left to the unit tests and the simulator, what the shim, the reactor
//! and the command line do by themselves to `e2e_proxy`, `e2e_reactor` and `e2e_cli`.
//!
//! | row | shown by |
//! |---|---|
//! | A01, A02 | `daemon::an_rmcp_mux_file_runs_unchanged` |
//! | A03 | `daemon::a_process_per_session_and_roots_of_the_operator`, `questions::*`, `life::*` |
//! | A04 | `daemon::an_rmcp_mux_file_runs_unchanged`; `e2e_cli::run_refuses_a_broken_file_and_unknown_names` |
//! | A07 | `e2e_cli::check_prints_every_problem_with_its_place` |
//! | A09 | `daemon::no_socket_file_or_process_is_left_after_sigterm`, `a_second_signal_ends_it_at_once`, `sigpipe_and_sighup_do_not_end_it` |
//! | A10 | `daemon::log_level_and_format_are_chosen`, `an_rmcp_mux_file_runs_unchanged` (no secret) |
//! | A12 | `e2e_cli::help_and_version_go_to_stdout_with_code_0` |
//! | B01 | `sharing::twenty_clients_with_the_same_ids_get_their_own_answers`, `ids_come_back_byte_for_byte` |
//! | B02 | `sharing::many_first_clients_share_one_handshake` |
//! | B03 | `sharing::cancel_and_progress_ids_are_mapped_never_raw`, `what_a_client_asked_for_is_cancelled_when_it_leaves` |
//! | B04 | `questions::*` |
//! | B05 | `sharing::log_levels_…`, `subscriptions_…`, `changed_lists_…`, `tasks_…`; `questions::a_servers_questions_…` (elicitation/complete) |
//! | B06 | `apart::*`; `daemon::a_process_per_session_and_roots_of_the_operator`; `e2e_operate::reload::*spare*`, `e2e_web::expose::*` |
//! | B07 | `sharing::modern_clients_share_a_modern_server`, `races::an_idle_modern_server_is_asked_in_its_own_words`, `eras::*` |
//! | B09 | `verbatim::*` |
//! | B10 | `sharing::a_flooding_client_stands_in_its_own_way_only` |
//! | C01 | `life::requests_wait_for_a_restart_…`, `requests_are_answered_at_once_after_the_last_restart`, `pauses_between_restarts_…`, `a_killed_child_is_replaced_…` |
//! | C02 | `life::a_restarted_child_is_initialised_before_anything_else`, `a_call_of_a_harmless_tool_outlives_the_process` |
//! | C03 | `life::a_request_times_out_is_cancelled_and_forgotten`, `progress_extends_a_request_but_not_for_ever` |
//! | C04 | `life::a_healthy_child_is_not_restarted_by_its_heartbeat`, `a_child_that_answers_no_heartbeat_is_restarted` |
//! | C05 | `life::a_lazy_server_starts_with_its_first_request_and_stops_when_idle`, `races::requests_that_meet_an_idle_stop_…` |
//! | C06 | `daemon::kill_9_under_load_…`, `a_dead_launcher_takes_its_tree_along_…`; `e2e_reactor` |
//! | C07 | `life::a_child_that_writes_what_is_not_mcp_goes_on_serving` (`--stderr-flood`) |
//! | C08 | `life::a_child_that_writes_what_is_not_mcp_goes_on_serving` |
//! | D01 | `daemon::sockets_are_private_and_never_stolen`, `kill_9_under_load_…` (a stale one); `e2e_reactor` (another user) |
//! | D02 | `shim::*`; `e2e_proxy` |
//! | D03 | `hostile::the_sixth_client_is_told_so_at_once` |
//! | D04 | `service::*` |
//! | M04 | `daemon::an_idle_daemon_is_not_woken` |
//! | N03 | `races::kill_9_at_any_moment_of_the_start_leaves_nobody`, `daemon::killing_children_again_and_again_leaks_nothing`, `kill_9_under_load_…`; `e2e_reactor` |
//! | N05 | `hostile::*`, `questions::an_answer_that_cannot_be_passed_on_ends_the_question` |
//!
//! What rmcp-mux 0.4.0 gets wrong, each with the test that would notice it here:
//!
//! | failure | test |
//! |---|---|
//! | a healthy child restarted by its heartbeat | `life::a_healthy_child_is_not_restarted_by_its_heartbeat` |
//! | a restarted child never initialised | `life::a_restarted_child_is_initialised_before_anything_else` |
//! | a silent sixth client | `hostile::the_sixth_client_is_told_so_at_once` |
//! | sockets left after SIGTERM | `daemon::no_socket_file_or_process_is_left_after_sigterm` |
//! | requests unanswered after the last restart | `life::requests_are_answered_at_once_after_the_last_restart` |
//! | raw cancel and progress ids | `sharing::cancel_and_progress_ids_are_mapped_never_raw` |
//! | questions of servers dropped | `questions::a_servers_questions_reach_the_client_that_is_meant` |
//! | one line that is not JSON ends the reader | `life::a_child_that_writes_what_is_not_mcp_goes_on_serving` |
//! | lines without a limit | `life::a_child_that_writes_what_is_not_mcp_goes_on_serving` (`--giant-line`), `hostile::hostile_input_…` |
//! | queues without a limit | `sharing::no_request_of_a_client_that_asks_without_end_is_lost_or_kept_without_limit`, `daemon::a_client_that_does_not_read_…`, `a_server_that_does_not_read_…`, `races::a_child_that_asks_without_end_…` |

mod apart;
mod audit;
mod daemon;
mod eras;
mod hostile;
mod life;
mod lists;
mod questions;
mod races;
mod service;
mod sharing;
mod shim;
mod support;
mod verbatim;
