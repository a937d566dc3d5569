import type { Session } from "../../src/database/session.ts";
import { schemaLockId } from "../../src/storage/stream_id.ts";
import { testDatabaseUrl } from "./database.ts";
import { openSession } from "./migration_connection.ts";

/** An instance of the existing node, played by its statements. */
export class ExistingNode implements AsyncDisposable {
  readonly #session: Session;
  readonly #schema: string;
  #notify: () => void = () => {};

  constructor(session: Session, schema: string) {
    this.#session = session;
    this.#schema = schema;
    session.onNotification(({ payload }) => {
      if (payload === schema) this.#notify();
    });
  }

  /** Starts a node, which listens at once or only later, as real ones do. */
  static async start(
    schema: string,
    { listens = true } = {},
  ): Promise<ExistingNode> {
    const session = await openSession(await testDatabaseUrl());
    const node = new ExistingNode(session, schema);
    if (listens) await node.listen();
    return node;
  }

  /** The process id of its session on the server. */
  get processId(): number {
    return this.#session.processId;
  }

  async listen(): Promise<void> {
    await this.#session.script("LISTEN singlenodekey");
  }

  async takeRow(uuid = "node"): Promise<void> {
    await this.#session.script(
      `BEGIN; DELETE FROM ${this.#schema}.singlenodekey;
       INSERT INTO ${this.#schema}.singlenodekey
         (uuid, storage_connection_time, info) VALUES ('${uuid}', now(), 'node');
       COMMIT`,
    );
  }

  async tryLock(): Promise<boolean> {
    const [row] = await this.#session.script(
      `SELECT pg_try_advisory_lock(${schemaLockId(this.#schema)})`,
    );
    return row?.[0] === "t";
  }

  /** Waits for the lock. */
  async lock(): Promise<void> {
    await this.#session.script(
      `SELECT pg_advisory_lock(${schemaLockId(this.#schema)})`,
    );
  }

  /** Resolves at the next notification for the schema. */
  notified(): Promise<void> {
    return new Promise((resolve) => this.#notify = resolve);
  }

  /** Resolves when a notification comes and the row is not the node's own. */
  async overtaken(): Promise<void> {
    for (;;) {
      const notified = this.notified();
      const [row] = await this.#session.script(
        `SELECT uuid FROM ${this.#schema}.singlenodekey`,
      );
      if (row?.[0] !== "node") return;
      await notified;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.close();
  }
}
