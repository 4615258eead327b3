"""A run's ledger as the first version of this program wrote it."""

FIRST_SCHEMA = """
CREATE TABLE run (
    id TEXT NOT NULL, configuration TEXT NOT NULL, project INTEGER NOT NULL, digest TEXT NOT NULL,
    is_of_service INTEGER NOT NULL DEFAULT 0, title TEXT NOT NULL, version TEXT NOT NULL,
    labeling_config TEXT NOT NULL DEFAULT '',
    created_at REAL NOT NULL, started_at REAL, ended_at REAL,
    state TEXT NOT NULL, wish TEXT NOT NULL DEFAULT 'go', message TEXT NOT NULL DEFAULT '',
    last_listed INTEGER NOT NULL DEFAULT 0, is_listed INTEGER NOT NULL DEFAULT 0,
    listed INTEGER NOT NULL DEFAULT 0, sent_at REAL NOT NULL DEFAULT 0, rate REAL NOT NULL DEFAULT 0,
    total INTEGER, written INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0, empty INTEGER NOT NULL DEFAULT 0, objects INTEGER NOT NULL DEFAULT 0,
    undone INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE label (name TEXT PRIMARY KEY, objects INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE task (
    id INTEGER PRIMARY KEY, state INTEGER NOT NULL, objects INTEGER NOT NULL DEFAULT 0, reason TEXT
);
CREATE INDEX unfinished ON task (state, id) WHERE state IN (0, 1, 4);
INSERT INTO run (id, configuration, project, digest, title, version, created_at, state, total, written)
VALUES ('251124-aaaaaa', '{"project": 3}', 3, '5943d40fa6a9047b', 'Cars', 'v', 1000.0, 'paused', 2, 1);
INSERT INTO task VALUES (1, 2, 0, NULL), (2, 0, 0, NULL);
"""
