"""The table "Limits" of docs/operations.md: each row is proved by tests that drive its queue to the bound."""

import ast
import re
from pathlib import Path

import pytest

from mesh.nodes import metrics
from mesh.settings import Settings
from mesh.telemetry import COUNTERS

ROOT = Path(__file__).parents[1]
BACKPRESSURE = "tests/cluster/test_backpressure.py"
BATCHES = "tests/unit/mesh/link/test_batches.py"
CALLS = "tests/unit/mesh/bus/test_calls.py"
CONNECTION = "tests/integration/test_connection.py"
DUPLICATES = "tests/unit/mesh/bus/zeromq/test_duplicates.py"
FAILOVER = "tests/unit/mesh/bus/zeromq/test_failover.py"
LONGPOLL_MESSAGES = "tests/unit/gateway/transports/longpoll/test_messages.py"
OPENINGS = "tests/unit/gateway/transports/zeromq/test_openings.py"
ORIGINALS = "tests/unit/mesh/history/test_originals.py"
QUEUES = "tests/unit/gateway/transports/test_queue_bounds.py"
SESSION = "tests/unit/gateway/channels/test_session.py"
WIRE = "tests/integration/test_wire.py"

PROBES = {
    "what a client has sent and the gateway not read": [
        f"{BACKPRESSURE}::test_a_flood_at_a_slow_channel_waits_in_its_client_and_hurts_nobody",
    ],
    "read, not handled: one `recv`, one message": [
        "tests/unit/gateway/transports/websocket/test_frames.py::test_an_oversized_frame_is_refused_by_its_header_alone",
        "tests/integration/test_websocket_frames.py::test_an_invalid_message_closes_its_connection_with_the_right_code_and_no_other",
    ],
    "line and headers of an HTTP request": [
        "tests/integration/http/test_requests.py::test_a_head_over_the_limit_is_answered",
        "tests/integration/http/test_requests.py::test_odd_headers_never_give_500",
    ],
    "an HTTP request that has begun": [
        "tests/integration/http/test_timeouts.py::test_a_request_that_stalls_is_answered_408",
        "tests/integration/http/test_timeouts.py::test_a_request_that_trickles_in_is_answered_408",
    ],
    "openings of ZeroMQ clients, while `connect` runs": [
        f"{OPENINGS}::test_an_opening_larger_than_the_head_of_a_request_is_refused_at_once",
    ],
    "body of an HTTP request": [
        "tests/integration/http/test_bodies.py::test_bodies_are_bounded_in_total_and_each",
        "tests/integration/test_publish.py::test_a_body_beyond_the_limit_is_refused",
    ],
    "bodies of all HTTP requests, until they are answered": [
        "tests/integration/http/test_bodies.py::test_bodies_are_bounded_in_total_and_each",
        "tests/integration/http/test_bodies.py::test_bodies_that_no_route_takes_use_no_memory",
    ],
    "frames of one message, which may be empty": [
        "tests/unit/gateway/transports/websocket/test_frames.py::test_fragments_cost_only_their_bytes",
        "tests/unit/gateway/transports/websocket/test_frames.py::test_a_message_has_a_bounded_number_of_frames",
        "tests/integration/test_websocket_frames.py::test_an_invalid_message_closes_its_connection_with_the_right_code_and_no_other",
    ],
    "what stands beside the payload of a client's message": [
        f"{SESSION}::test_a_ref_that_is_too_long_ends_the_connection",
        "tests/unit/gateway/channels/test_pending_joins.py::test_an_event_that_is_too_long_is_not_held_for_a_pending_join",
        f"{SESSION}::test_a_join_without_route_is_answered_with_join_ref_null",
    ],
    "what a proxy and a gateway keep of a topic with members, beside its name": [
        "tests/unit/mesh/bus/zeromq/test_subscriber.py::test_a_long_topic_is_subscribed_by_its_beginning_and_compared_as_a_whole",
        f"{WIRE}::test_the_hundred_and_first_channel_is_refused",
    ],
    "lines of a long-poll POST": [
        f"{LONGPOLL_MESSAGES}::test_lines_over_the_limit_are_counted",
        f"{LONGPOLL_MESSAGES}::test_a_body_of_very_many_lines_costs_no_more_memory_than_itself",
    ],
    "messages behind a pending join": [
        "tests/unit/gateway/channels/test_pending_joins.py::test_held_events_count_toward_the_pending_bytes",
        "tests/unit/gateway/channels/test_pending_joins.py::test_reading_pauses_while_too_much_is_held_for_a_join",
        "tests/integration/test_channels.py::test_a_flood_while_a_join_is_pending_is_read_after_it",
    ],
    "mailbox of a channel, mark": [
        "tests/unit/mesh/worker/channel/test_mailbox_limits.py::test_a_full_mailbox_pauses_its_client_until_half_of_it_is_left",
        "tests/unit/mesh/worker/channel/test_mailbox_limits.py::test_large_messages_pause_the_client_by_their_bytes",
    ],
    "mailbox of a channel, bound: also what it sends itself, and intercepted broadcasts": [
        "tests/unit/mesh/worker/channel/test_mailbox_limits.py::test_an_overflowing_mailbox_ends_only_its_channel",
        "tests/unit/mesh/worker/channel/test_mailbox_limits.py::test_a_channel_that_floods_itself_ends_and_others_continue",
        "tests/unit/mesh/worker/channel/test_mailbox_limits.py::test_a_mailbox_over_its_byte_limit_ends_the_channel",
    ],
    "gateway → worker, mark": [f"{BACKPRESSURE}::test_a_busy_worker_pauses_those_who_push_to_it"],
    "worker → gateway, mark": [
        f"{BACKPRESSURE}::test_a_worker_makes_no_more_for_a_gateway_that_does_not_take_it",
        "tests/unit/mesh/worker/channel/test_push_pauses.py::test_the_channels_of_a_slow_gateway_handle_no_pushes",
    ],
    "either way, bound": [f"{BATCHES}::test_a_peer_too_far_behind_is_given_up"],
    "ZeroMQ's queues of a link": [
        "tests/unit/mesh/zeromq/test_queues.py::test_a_link_has_short_queues",
        f"{BATCHES}::test_large_commands_are_spread_over_messages_in_order",
        f"{BATCHES}::test_what_a_full_queue_refuses_follows_in_order",
    ],
    "unsent bytes of a client, `pause_publisher` mark": [
        f"{BACKPRESSURE}::test_publishers_wait_for_a_reader_that_stops_and_goes_on",
        f"{BACKPRESSURE}::test_a_reader_that_never_reads_again_is_closed_and_publishers_go_on",
    ],
    "unsent bytes of a client": [
        f"{WIRE}::test_a_client_that_does_not_read_is_closed_and_others_receive_every_message",
        "tests/integration/test_slow_consumers.py::test_a_client_that_falls_behind_a_ticker_misses_the_oldest",
        "tests/integration/test_longpoll.py::test_a_client_that_does_not_poll_is_ended_when_too_much_waits",
        "tests/integration/test_zeromq.py::test_a_client_that_does_not_read_is_closed_and_the_others_go_on",
    ],
    "broadcasts held for a pending join": [
        "tests/unit/gateway/fanout/test_fanout.py::test_a_client_for_whose_join_too_much_is_held_is_closed",
    ],
    "joins that wait for a worker": [
        "tests/unit/gateway/joins/test_subscribing_joins.py::test_a_long_silence_costs_a_bounded_number_of_joins",
    ],
    "topics refused because their joins end workers": [
        "tests/unit/gateway/joins/test_refused_topics.py::test_what_is_remembered_is_bounded",
    ],
    "workers and gateways whose links failed": [
        "tests/unit/mesh/link/test_backoff.py::test_what_is_remembered_is_bounded",
    ],
    "messages of a ZeroMQ client that is not to be read from": [
        f"{QUEUES}::test_a_zeromq_client_that_floods_while_it_is_not_read_from_is_closed",
    ],
    "a POST of a long-poll client that is not to be read from": [
        f"{QUEUES}::test_a_post_that_may_not_be_handled_is_answered_408_and_its_rest_dropped",
    ],
    "a node → proxy, ZeroMQ's queue": [
        "tests/unit/mesh/zeromq/test_queues.py::test_what_a_full_queue_to_a_proxy_does_not_take_is_refused_not_lost",
    ],
    "answers to other nodes' calls, kept in case they are asked for again": [
        f"{CALLS}::test_answers_are_kept_for_a_time",
        f"{CALLS}::test_the_bytes_of_answers_are_bounded_and_calls_without_theirs_stay_known",
        f"{CALLS}::test_who_had_to_forget_early_does_not_say_that_a_call_never_came",
    ],
    "a node's backlog of the bus": [
        "tests/integration/test_connection_outages.py::test_a_full_backlog_raises_unreachable_error"
    ],
    "proxy → node, ZeroMQ's queue at each end": [
        f"{BACKPRESSURE}::test_a_gateway_frozen_under_a_flood_is_cut_off_and_its_clients_are_told",
    ],
    "messages of nodes whose topics move to another proxy, held at a node": [
        f"{FAILOVER}::test_what_is_held_of_all_origins_is_bounded",
        f"{FAILOVER}::test_ever_higher_boundaries_prolong_a_wait_by_a_bounded_time",
        f"{FAILOVER}::test_the_moves_in_progress_are_bounded",
    ],
    "numbers of received messages, to drop duplicates": [
        f"{DUPLICATES}::test_the_origins_are_bounded_and_those_that_send_most_are_kept",
        "tests/unit/mesh/bus/zeromq/test_subscriber.py::test_forgotten_origins_are_counted_and_logged_once",
    ],
    "the same, of all nodes together": [
        f"{DUPLICATES}::test_the_numbers_of_all_origins_are_bounded_and_none_is_taken_twice",
    ],
    "histories in the memory of a worker": [
        "tests/unit/mesh/testing/test_case_history.py::test_the_memory_of_all_histories_is_limited_as_the_application_says",
        "tests/unit/mesh/history/test_memory_store.py::test_the_last_topic_loses_its_oldest_entries_rather_than_exceed_the_limit",
    ],
    "kept broadcasts that wait for Redis": [
        "tests/integration/test_redis_outages.py::test_what_waits_for_the_server_is_bounded",
        "tests/integration/test_redis_outages.py::test_a_frozen_server_blocks_nobody_and_gives_no_offset_twice",
    ],
    "kept broadcasts that no worker has recorded yet": [
        f"{ORIGINALS}::test_the_oldest_is_dropped_beyond_a_number_or_a_size",
        f"{ORIGINALS}::test_what_nobody_records_expires",
    ],
    "kept broadcasts that a gateway has received, but not yet recorded": [
        "tests/unit/gateway/ordering/test_unrecorded.py::test_the_topic_that_is_known_for_longest_is_forgotten_first",
    ],
    "kept broadcasts of a topic that arrived ahead of earlier ones, in the copy of a worker": [
        "tests/unit/mesh/history/test_log.py::test_a_copy_that_misses_too_much_is_completed_only_by_a_snapshot_of_all",
    ],
    "a subscription of a program or a task": [
        f"{CONNECTION}::test_a_full_subscription_drops_and_counts_the_oldest_broadcasts",
    ],
}


def table():
    section = (ROOT / "docs/operations.md").read_text().partition("\n## Limits\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    assert lines[0] == "| queue | bound | at the bound | shows as |"
    return {
        cells[0]: cells
        for cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:])
    }


def test_every_row_has_its_tests_and_every_test_its_row():
    assert list(table()) == list(PROBES)
    assert all(PROBES.values()), [queue for queue, tests in PROBES.items() if not tests]


@pytest.mark.parametrize("name", sorted({name for names in PROBES.values() for name in names}))
def test_the_tests_exist(name):
    path, _, test = name.partition("::")
    functions = [
        each.name
        for each in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    assert test in functions


def test_the_settings_and_metrics_that_it_names_exist():
    counts = {f"mesh_{name}_total" for name in (*metrics.TOTALS, *COUNTERS)}
    shown = counts | {f"mesh_{name}" for name in metrics.GAUGES}
    settings = Settings()
    for queue, bound, effect, shows in table().values():
        for section, setting in re.findall(r"`([a-z]+)\.([a-z_]+)`", f"{queue} {bound} {effect}"):
            assert hasattr(getattr(settings, section), setting), f"{section}.{setting}"
        for metric in re.findall(r"`(mesh_\w+)", shows):
            assert metric in shown, metric
