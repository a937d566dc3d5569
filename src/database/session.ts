/**
 * One authenticated connection, from our side of the protocol.
 *
 * `run` sends a list of statements as one flush that ends with one Sync. The
 * server executes everything before a Sync as one transaction (PostgreSQL
 * documentation, "Pipelining": an implicit transaction that commits at the Sync
 * and rolls back as a whole at the first error). So a write is one round trip
 * with no BEGIN, no COMMIT and no state left in the session. Its ReadyForQuery
 * is the acknowledgement: before it, nothing is known to be committed.
 *
 * Several `run`s may be in flight at once; answers come in the order of the
 * questions, and an error in one does not affect the next.
 *
 * Statements that are new to the session are parsed in a flush section of their
 * own (ending with its own Sync, in the same write), so that an error in the
 * work never leaves it uncertain which names the server knows.
 *
 * Each answer is checked against its question (exchange.ts), its time limit
 * (answer_timer.ts), and the state in which it leaves the server's session
 * (transaction_status.ts). An answer that does not fit breaks the connection,
 * and its question has an unknown outcome: the answer was no acknowledgement.
 */

import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { Answers, type Notification } from "./answers.ts";
import type { Question } from "./exchange.ts";
import { leave } from "./leave.ts";
import { ConnectionLostError } from "./pg_error.ts";
import { PreparedBudget } from "./prepared_budget.ts";
import {
  type NamedStatement,
  PreparedStatements,
} from "./prepared_statements.ts";
import type { SessionAttrs } from "./session_attrs.ts";
import type { Bound, Result, ResultsOf, Statement } from "./statement.ts";
import {
  type SessionSettings,
  TransactionSettings,
} from "./transaction_settings.ts";
import type { Traffic } from "../telemetry/store_telemetry.ts";
import { FrontendWriter } from "./wire/frontend.ts";

export type { Notification } from "./answers.ts";

/** How much longer than the server's own timeout to wait for an answer. */
export const answerGraceMs = 1000;

/** What a session is made of; see driver.ts. */
export interface SessionTransport {
  socket: Socket;
  /** Sets the receiver of bytes; a chunk is valid until the call returns. */
  receive(take: (chunk: Buffer) => void): void;
  /** Announces the end and closes the socket. */
  end(): Promise<void>;
  /** Asks the server to cancel its work; whether it took the request. */
  cancel(withinMs: number): Promise<boolean>;
  /** The server's process id of this session; 0 if unknown. */
  processId: number;
  /** The proof in a request to cancel. */
  secretKey: Uint8Array;
  /** The attributes that the server must keep. */
  attrs: SessionAttrs;
}

/** How a session behaves. */
export interface SessionOptions {
  /** Keeps statements prepared; never behind a pooler in transaction mode. */
  preparedStatements: boolean;
  /** What they may take of the server's memory; default: one of its own. */
  budget?: PreparedBudget;
  /**
   * Milliseconds without an answer to the oldest question after which the
   * connection counts as dead. Longer than statement_timeout, by
   * {@linkcode answerGraceMs}.
   */
  answerTimeoutMs: number;
  /** Counts bytes. */
  traffic?: Traffic;
  /** Settings for every `run`; see transaction_settings.ts. */
  transactionSettings?: SessionSettings | undefined;
}

type NewStatement = NamedStatement & Pick<Statement, "params">;

/** A connection that runs statements; made by `connectSession`. */
export class Session implements AsyncDisposable {
  readonly processId: number;
  readonly #transport: SessionTransport;
  readonly #options: SessionOptions;
  readonly #settings: TransactionSettings;
  readonly #answers: Answers;
  readonly #writer = new FrontendWriter();
  readonly #prepared: PreparedStatements;
  #flushing = false;
  #failure: ConnectionLostError | undefined;
  #silentSince: number | undefined;
  #isGivenUp = false;
  readonly #closed = Promise.withResolvers<void>();
  readonly #released = Promise.withResolvers<void>();
  #onIdle: (() => void) | undefined;

  constructor(transport: SessionTransport, options: SessionOptions) {
    this.#transport = transport;
    this.#options = options;
    this.#settings = new TransactionSettings(options.transactionSettings);
    this.#prepared = new PreparedStatements(
      options.budget ?? new PreparedBudget(),
      () => this.#closeSoon(),
    );
    this.processId = transport.processId;
    this.#answers = new Answers({
      prepared: this.#prepared,
      attrs: transport.attrs,
      broken: (reason, cause) => this.destroy(reason, cause),
      late: ({ reason, silentSince }) => {
        this.#silentSince = silentSince;
        this.giveUp(reason);
      },
      answered: () => this.#onAnswered(),
    });
    transport.receive((chunk) => this.#feed(chunk));
  }

  /**
   * The proof in a request to cancel; may be empty. It is not stored here,
   * because printing a session would show it.
   */
  get secretKey(): Uint8Array {
    return this.#transport.secretKey;
  }

  /** The number of unanswered `run`s and `script`s. */
  get inFlight(): number {
    return this.#answers.open;
  }

  /** Whether the session can take work. */
  get usable(): boolean {
    return this.#failure === undefined;
  }

  /** Whether it ends after its running work, and should get no more. */
  get isRetired(): boolean {
    return this.#answers.isUnfit;
  }

  /** How many of the statements are prepared here. */
  preparedOf(bound: readonly Bound[]): number {
    return this.#prepared.countOf(bound);
  }

  /** When the server last sent anything, in the time of `performance.now()`. */
  get receivedAt(): number {
    return this.#answers.receivedAt;
  }

  /** Since when it was silent, if it was given up for that. */
  get silentSince(): number | undefined {
    return this.#silentSince;
  }

  /** Whether its answer is no longer awaited. */
  get isGivenUp(): boolean {
    return this.#isGivenUp;
  }

  /** Resolves when the connection is gone, for whatever reason. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /**
   * Resolves when the server has let go as well, as far as that can be known:
   * after `closed`, if the session was given up.
   */
  get released(): Promise<void> {
    return this.#released.promise;
  }

  /** Calls back for each notification. */
  onNotification(callback: (notification: Notification) => void): void {
    this.#answers.onNotification(callback);
  }

  /** Calls back whenever an answer makes room for another question. */
  onIdle(callback: () => void): void {
    this.#onIdle = callback;
  }

  /**
   * Runs the statements as one transaction in one flush. If `withinMs` is
   * shorter than the server's own timeout, the timeout is shortened for each of
   * them.
   *
   * @throws {PgError} the server refused; nothing was committed.
   * @throws {ConnectionLostError} no answer came; if `sent`, the outcome is
   *   unknown.
   */
  run<const B extends readonly Bound[]>(
    bound: B,
    withinMs = Infinity,
  ): Promise<ResultsOf<B>> {
    const { answerTimeoutMs } = this.#options;
    const limit = Math.min(withinMs + answerGraceMs, answerTimeoutMs);
    // Shortening is not worth a statement while most of the time is left.
    const isAmple = withinMs > (answerTimeoutMs - answerGraceMs) * 0.75;
    const first = this.#settings.statements(isAmple ? undefined : withinMs);
    if (first.length === 0) {
      return this.#run(bound, limit) as Promise<ResultsOf<B>>;
    }
    return this.#run([...first, ...bound], limit)
      .then((results) => results.slice(first.length) as ResultsOf<B>);
  }

  #run(bound: readonly Bound[], withinMs: number): Promise<Result[]> {
    const lost = this.#failure;
    if (lost !== undefined) {
      return Promise.reject(
        new ConnectionLostError(lost.message, false, lost.cause),
      );
    }
    try {
      return this.#send({ bound, withinMs, ...this.#write(bound) });
    } catch (error) {
      // Half a message was written, so the server would misread what follows.
      this.destroy("A statement's values could not be written", error);
      return Promise.reject(error);
    }
  }

  /**
   * Runs statements given as text by the simple query protocol; several are one
   * transaction unless they say otherwise. Returns the rows of the last
   * statement that returned any, all values as text.
   */
  async script(text: string): Promise<(string | null)[][]> {
    if (this.#failure) {
      throw new ConnectionLostError(this.#failure.message, false);
    }
    this.#writer.query(text);
    const results = await this.#send({
      bound: undefined,
      names: [],
      parses: undefined,
      withinMs: this.#options.answerTimeoutMs,
    });
    const last = results.findLast((result) => result.rows.length > 0);
    return (last?.rows ?? []) as unknown as (string | null)[][];
  }

  /**
   * Ends the session after its running work. If the server does not close the
   * connection within the time for an answer, the connection is broken.
   */
  async close(): Promise<void> {
    if (!this.usable) return;
    this.#flush();
    const timer = setTimeout(
      () => this.destroy("The server did not close the connection"),
      this.#options.answerTimeoutMs,
    );
    await this.#transport.end();
    await this.#closed.promise;
    clearTimeout(timer);
  }

  /** The same as `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Breaks the connection now; unanswered work fails. */
  destroy(reason: string, cause?: unknown): void {
    this.fail(reason, cause);
    this.#transport.socket.destroy();
    this.#released.resolve();
  }

  /** Breaks it, but tells the server that the answer is no longer awaited. */
  giveUp(reason: string): void {
    if (!this.usable) return;
    const isBusy = this.inFlight > 0;
    this.#isGivenUp = true;
    this.fail(reason);
    const { socket, cancel } = this.#transport;
    if (!isBusy) return this.destroy(reason);
    void leave(socket, cancel).then(() => this.#released.resolve());
  }

  /** Called by the driver when the connection broke or ended. */
  fail(reason: string, cause?: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = new ConnectionLostError(reason, true, cause);
    this.#prepared.end();
    this.#closed.resolve();
    if (!this.#isGivenUp) this.#released.resolve();
    this.#answers.end(() => new ConnectionLostError(reason, true, cause));
  }

  /** Writes the flush, beginning with a section that parses new statements. */
  #write(bound: readonly Bound[]): Pick<Question, "names" | "parses"> {
    const { names, parses } = this.#nameAll(bound);
    if (parses !== undefined) {
      // First: a statement that can't be parsed would prevent the closing.
      for (const name of this.#prepared.takeClosed()) {
        this.#writer.closeStatement(name);
      }
      for (const { name, text, params } of parses) {
        this.#writer.parse(name, text, params);
      }
      this.#writer.sync();
    }
    bound.forEach((item, i) => {
      const { statement } = item;
      if (names[i] === "") {
        this.#writer.parse("", statement.text, statement.params);
      }
      this.#writer.bindExecute(names[i]!, statement.params, item.values);
      if (item.copy) this.#writer.copyRows(item.copy.types, item.copy.rows);
      if (item.encodedCopy) this.#writer.append(item.encodedCopy);
    });
    this.#writer.sync();
    return { names, parses };
  }

  /** The name of each statement, "" if unnamed, and the new statements. */
  #nameAll(
    bound: readonly Bound[],
  ): { names: string[]; parses: NewStatement[] | undefined } {
    let parses: NewStatement[] | undefined;
    this.#prepared.beginRun();
    const names = bound.map(({ statement: { text, params, once } }) => {
      if (once || !this.#options.preparedStatements) return "";
      const known = this.#prepared.use(text);
      if (known !== undefined) return known;
      const name = this.#prepared.add(text);
      if (name === undefined) return "";
      (parses ??= []).push({ name, text, params });
      return name;
    });
    // What has to be closed goes with the section, too.
    if (this.#prepared.isClosable) parses ??= [];
    return { names, parses };
  }

  /** Closes what must make room: with the next flush, or by one of its own. */
  #closeSoon(): void {
    queueMicrotask(() => {
      const { isClosable } = this.#prepared;
      if (!isClosable || this.inFlight > 0 || !this.usable) return;
      this.#run([], this.#options.answerTimeoutMs).catch(() => {});
    });
  }

  #send(question: Question): Promise<Result[]> {
    this.#flushSoon();
    return this.#answers.to(question);
  }

  /** Sends all questions of one turn of the event loop in one write. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#flushing = false;
    const chunks = this.#writer.take();
    if (!this.usable) return;
    const { socket } = this.#transport;
    if (chunks.length > 1) socket.cork();
    for (const chunk of chunks) {
      socket.write(chunk);
      this.#options.traffic?.sent.add(chunk.length);
    }
    if (chunks.length > 1) socket.uncork();
    // Usually the system has taken all chunks already.
    if (socket.writableLength === 0) this.#writer.reuse();
  }

  #feed(chunk: Buffer): void {
    // Once the session is given up, no call waits for what comes.
    if (!this.usable) return;
    this.#options.traffic?.received.add(chunk.length);
    this.#answers.feed(chunk);
  }

  #onAnswered(): void {
    if (this.isRetired && this.inFlight === 0) {
      return this.destroy("The server's session is no longer usable");
    }
    this.#onIdle?.();
    if (this.#prepared.isClosable) this.#closeSoon();
  }
}
