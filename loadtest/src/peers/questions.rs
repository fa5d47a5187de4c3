//! What is asked of every server: a scenario with its arguments, and the figures taken from it.

use super::servers::Server;

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    Less,
    More,
}

/// A figure of a scenario.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    /// The field of the scenario's line of JSON.
    pub(super) key: &'static str,
    pub(super) label: &'static str,
    pub(super) unit: &'static str,
    pub(super) decimals: usize,
    pub(super) better: Better,
}

/// What a server has to be able to do for a question to make sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    Documents,
}

/// A run of a scenario.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) title: &'static str,
    pub(super) arguments: &'static [&'static str],
    /// The scenario starts the server itself, to be able to restart it.
    pub(super) starts_server: bool,
    pub(super) needs: Needs,
    /// Long runs that vary little are made once, the others in every round.
    pub(super) once: bool,
    pub(super) figures: &'static [Figure],
}

impl Question {
    pub(super) fn suits(&self, server: &Server) -> bool {
        match self.needs {
            Needs::Nothing => true,
            Needs::Documents => server.holds_documents,
        }
    }
}

const fn figure(
    key: &'static str,
    label: &'static str,
    unit: &'static str,
    decimals: usize,
    better: Better,
) -> Figure {
    Figure {
        key,
        label,
        unit,
        decimals,
        better,
    }
}

const P50: Figure = figure("p50_ms", "latency p50", "ms", 2, Better::Less);
const P99: Figure = figure("p99_ms", "latency p99", "ms", 2, Better::Less);
const RATE: Figure = figure("deliveries_per_s", "deliveries", "/s", 0, Better::More);
const CPU: Figure = figure(
    "server_cpu_s_per_million",
    "server CPU per 1M deliveries",
    "s",
    2,
    Better::Less,
);

const SERVER_CPU: Figure = figure(
    "server_cpu_percent",
    "server CPU",
    "% of a core",
    0,
    Better::Less,
);

/// The questions, in the order of the page.
pub(super) const QUESTIONS: [Question; 12] = [
    Question {
        title: "Typing: 50 rooms × 20 clients, 4 writers × 5 edits/s (19,000 deliveries/s)",
        arguments: &["fanout", "--seconds", "6"],
        starts_server: false,
        needs: Needs::Nothing,
        once: false,
        figures: &[P50, P99, CPU],
    },
    Question {
        title: "The same at 25 edits/s (95,000 deliveries/s)",
        arguments: &["fanout", "--rate", "25", "--seconds", "6"],
        starts_server: false,
        needs: Needs::Nothing,
        once: false,
        figures: &[P50, P99, RATE],
    },
    Question {
        title: "Saturating: 20 rooms × 10 clients, 1 writer with 16 edits under way",
        arguments: &[
            "fanout",
            "--rooms",
            "20",
            "--clients",
            "10",
            "--writers",
            "1",
            "--window",
            "16",
            "--seconds",
            "6",
        ],
        starts_server: false,
        needs: Needs::Nothing,
        once: false,
        figures: &[RATE, P99, CPU],
    },
    Question {
        title: "One edit under way: 200 rooms × 10 clients, 1 writer",
        arguments: &[
            "fanout",
            "--rooms",
            "200",
            "--clients",
            "10",
            "--writers",
            "1",
            "--window",
            "1",
            "--seconds",
            "6",
        ],
        starts_server: false,
        needs: Needs::Nothing,
        once: false,
        figures: &[RATE, P99],
    },
    Question {
        title: "One room of 500 clients, 5 writers × 5 edits/s",
        arguments: &[
            "fanout",
            "--rooms",
            "1",
            "--clients",
            "500",
            "--writers",
            "5",
            "--seconds",
            "6",
        ],
        starts_server: false,
        needs: Needs::Nothing,
        once: false,
        figures: &[P50, P99],
    },
    Question {
        title: "One busy room: 200 clients, 20 writers × 100 edits/s (398,000 deliveries/s wanted)",
        arguments: &[
            "fanout",
            "--rooms",
            "1",
            "--clients",
            "200",
            "--writers",
            "20",
            "--rate",
            "100",
            "--seconds",
            "6",
        ],
        starts_server: false,
        needs: Needs::Nothing,
        once: false,
        figures: &[RATE, P99],
    },
    Question {
        title: "10,000 idle connections in 1,000 rooms",
        arguments: &["idle", "--hold", "3", "--after", "3"],
        starts_server: false,
        needs: Needs::Nothing,
        once: true,
        figures: &[
            figure("each_kb", "memory of a connection", "KB", 1, Better::Less),
            figure("joins_per_s", "connected and synced", "/s", 0, Better::More),
        ],
    },
    Question {
        title: "2,000 open documents of 2 KB, one client each",
        arguments: &["documents", "--hold", "3", "--after", "3"],
        starts_server: false,
        needs: Needs::Documents,
        once: true,
        figures: &[figure(
            "each_kb",
            "memory of a document with its connection",
            "KB",
            1,
            Better::Less,
        )],
    },
    Question {
        title: "A text of 259,778 key strokes, typed key by key, then fetched",
        arguments: &["load"],
        starts_server: true,
        needs: Needs::Documents,
        once: true,
        figures: &[
            figure("edits_per_s", "typed", "/s", 0, Better::More),
            figure("warm_ms", "fresh client, warm", "ms", 1, Better::Less),
            figure(
                "joiners_ms",
                "50 fresh clients at once",
                "ms",
                1,
                Better::Less,
            ),
            figure(
                "cold_ms",
                "first client after a start",
                "ms",
                1,
                Better::Less,
            ),
        ],
    },
    Question {
        title: "Cursors: 500 editors of one document, 5 moves/s each",
        arguments: &["cursors", "--seconds", "6"],
        starts_server: false,
        needs: Needs::Documents,
        once: true,
        figures: &[P50, P99, SERVER_CPU],
    },
    Question {
        title: "The same, with clients that tell again what they hear (y-websocket's do)",
        arguments: &["cursors", "--resend", "--seconds", "6"],
        starts_server: false,
        needs: Needs::Documents,
        once: true,
        figures: &[P50, P99, SERVER_CPU],
    },
    Question {
        title: "A restart under 2,000 clients in 200 rooms",
        arguments: &["storm"],
        starts_server: true,
        needs: Needs::Documents,
        once: true,
        figures: &[figure(
            "sync_s",
            "open port to all in sync",
            "s",
            2,
            Better::Less,
        )],
    },
];
