/**
 * One authenticated connection, from our side of the protocol.
 *
 * `run` sends a list of statements as one flush that ends with one Sync. The
 * server executes what stands before a Sync as one transaction (PostgreSQL
 * documentation, "Pipelining": an implicit transaction that commits at the
 * Sync and rolls back as a whole at the first error), so a write is one round
 * trip with no BEGIN, no COMMIT and no state left behind in the session. Its
 * ReadyForQuery is the acknowledgement: before it nothing is known to be
 * committed.
 *
 * Several `run`s may be under way at once; answers come in the order of the
 * questions, and an error in one does not touch the next.
 *
 * Statements that the session has not seen are parsed in a flush section of
 * their own (ending with a Sync of its own, in the same write), so that an
 * error in the work never leaves it uncertain which names the server knows.
 */

import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { ConnectionLostError, PgError, readErrorFields } from "./pg_error.ts";
import { PreparedStatements } from "./prepared_statements.ts";
import type { Bound, Result, ResultsOf, Statement } from "./statement.ts";
import {
  type SessionSettings,
  TransactionSettings,
} from "./transaction_settings.ts";
import type { Traffic } from "../telemetry/store_telemetry.ts";
import { BackendReader } from "./wire/backend.ts";
import { trailingNumber } from "./wire/command_tag.ts";
import { FrontendWriter } from "./wire/frontend.ts";
import type { Decoder } from "./wire/types.ts";

const code = {
  commandComplete: 0x43,
  emptyQuery: 0x49,
  error: 0x45,
  notice: 0x4e,
  notification: 0x41,
  parameterStatus: 0x53,
  readyForQuery: 0x5a,
} as const;

/** A notification from `NOTIFY`. */
export interface Notification {
  channel: string;
  payload: string;
  /** The process id of the session that notified. */
  processId: number;
}

/** How much longer than the server's own timeout an answer is waited for. */
export const answerGraceMs = 1000;

/** A timer that is so late tells of a process that was stopped, or too busy. */
const sleptMs = 100;

/** What a session is made of; see driver.ts. */
export interface SessionTransport {
  socket: Socket;
  /** Calls back with what arrives; each chunk holds until the call returns. */
  receive(take: (chunk: Buffer) => void): void;
  /** Says goodbye and closes the socket. */
  end(): Promise<void>;
  /** The server's process id of this session; 0 if it did not tell. */
  processId: number;
  /** What a request to cancel proves itself with. */
  secretKey: Uint8Array;
  /** Of no more use once the server takes no writes. */
  mustWrite: boolean;
}

/** How a session behaves. */
export interface SessionOptions {
  /** Keep statements prepared; never behind a pooler in transaction mode. */
  preparedStatements: boolean;
  /** How many statements stay prepared, the least used one goes first. */
  maxPrepared: number;
  /**
   * Milliseconds without an answer to the oldest question after which the
   * connection is taken for dead. Longer than statement_timeout, by
   * {@linkcode answerGraceMs}.
   */
  answerTimeoutMs: number;
  /** Counts the bytes. */
  traffic?: Traffic;
  /** Settings that go with every `run`; see transaction_settings.ts. */
  transactionSettings?: SessionSettings | undefined;
}

interface Exchange {
  bound: readonly Bound[];
  results: Result[];
  /** The section that parses new statements is still unanswered. */
  preparing: boolean;
  /** Milliseconds of silence that its answer is waited for. */
  withinMs: number;
  error: PgError | undefined;
  /** It was committed, but on no standby; see `#onNotice`. */
  isUnreplicated: boolean;
  resolve(results: Result[]): void;
  reject(error: unknown): void;
}

/** A connection that runs statements; made by `connectSession`. */
export class Session implements AsyncDisposable {
  readonly processId: number;
  /** What a request to cancel proves itself with; maybe empty. */
  readonly secretKey: Uint8Array;
  readonly #transport: SessionTransport;
  readonly #options: SessionOptions;
  readonly #settings: TransactionSettings;
  readonly #reader: BackendReader;
  readonly #writer = new FrontendWriter();
  readonly #exchanges: Exchange[] = [];
  readonly #prepared: PreparedStatements;
  #flushing = false;
  #failure: ConnectionLostError | undefined;
  #answerTimer: ReturnType<typeof setTimeout> | undefined;
  #answerTimerDue = 0;
  #heardAt = performance.now();
  #silentSince: number | undefined;
  #retired = false;
  readonly #closed = Promise.withResolvers<void>();
  #onNotification: ((notification: Notification) => void) | undefined;
  #onIdle: (() => void) | undefined;

  constructor(transport: SessionTransport, options: SessionOptions) {
    this.#transport = transport;
    this.#options = options;
    this.#settings = new TransactionSettings(options.transactionSettings);
    this.#prepared = new PreparedStatements(options.maxPrepared);
    this.processId = transport.processId;
    this.secretKey = transport.secretKey;
    this.#reader = new BackendReader({
      rowDecoders: () => this.#currentDecoders(),
      row: (values) => this.#currentResult()?.rows.push(values as never),
      message: (...message) => this.#onMessage(...message),
    });
    transport.receive((chunk) => this.#feed(chunk));
  }

  /** How many `run`s and `script`s are unanswered. */
  get inFlight(): number {
    return this.#exchanges.length;
  }

  /** Whether the session can take work. */
  get usable(): boolean {
    return this.#failure === undefined;
  }

  /** When the server last said anything, as `performance.now()` tells it. */
  get heardAt(): number {
    return this.#heardAt;
  }

  /** Since when, if it was given up because nothing came any more. */
  get silentSince(): number | undefined {
    return this.#silentSince;
  }

  /** Fulfilled once the connection is gone, for whatever reason. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Calls back for each notification. */
  onNotification(callback: (notification: Notification) => void): void {
    this.#onNotification = callback;
  }

  /** Calls back each time that an answer leaves room for another question. */
  onIdle(callback: () => void): void {
    this.#onIdle = callback;
  }

  /**
   * Runs the statements as one transaction in one flush. With `withinMs`
   * shorter than the server's own timeout, that is shortened for each of them.
   *
   * @throws {PgError} the server refused; nothing was committed.
   * @throws {ConnectionLostError} the answer never came; with `sent` true the
   *   outcome is unknown.
   */
  run<const B extends readonly Bound[]>(
    bound: B,
    withinMs = Infinity,
  ): Promise<ResultsOf<B>> {
    const { answerTimeoutMs } = this.#options;
    const limit = Math.min(withinMs + answerGraceMs, answerTimeoutMs);
    // Not worth a statement while most of the time is left.
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
    let preparing: boolean;
    try {
      preparing = this.#write(bound);
    } catch (error) {
      // Half a message was written; nothing that follows could be understood.
      this.destroy("A statement's values could not be written", error);
      return Promise.reject(error);
    }
    return this.#send(bound, preparing, withinMs);
  }

  /**
   * Runs statements given as text by the simple query protocol; several are
   * one transaction unless they say otherwise. Returns the rows of the last
   * statement that returned any, every value as text.
   */
  async script(text: string): Promise<(string | null)[][]> {
    if (this.#failure) {
      throw new ConnectionLostError(this.#failure.message, false);
    }
    this.#writer.query(text);
    const results = await this.#send([], false, this.#options.answerTimeoutMs);
    const last = results.findLast((result) => result.rows.length > 0);
    return (last?.rows ?? []) as unknown as (string | null)[][];
  }

  /**
   * Says goodbye. Work that is under way ends first; a server that does not
   * take leave within the time for an answer is left.
   */
  async close(): Promise<void> {
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
  }

  /** Called by the driver when the connection broke or ended. */
  fail(reason: string, cause?: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = new ConnectionLostError(reason, true, cause);
    clearTimeout(this.#answerTimer);
    this.#closed.resolve();
    for (const exchange of this.#exchanges.splice(0)) {
      exchange.reject(new ConnectionLostError(reason, true, cause));
    }
  }

  /** Writes the flush; whether it begins with a section that parses. */
  #write(bound: readonly Bound[]): boolean {
    const before = this.#writer.bytes;
    const names = this.#writePrepares(bound);
    const preparing = this.#writer.bytes > before;
    if (preparing) this.#writer.sync();
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
    return preparing;
  }

  /** Parses what is new; returns each statement's name, "" for an unnamed. */
  #writePrepares(bound: readonly Bound[]): string[] {
    return bound.map(({ statement }) => {
      if (statement.once || !this.#options.preparedStatements) return "";
      return this.#nameOf(statement);
    });
  }

  #nameOf(statement: Statement): string {
    const { text } = statement;
    const known = this.#prepared.use(text);
    if (known !== undefined) return known;
    const { name, closes } = this.#prepared.add(text);
    if (closes !== undefined) this.#writer.closeStatement(closes);
    this.#writer.parse(name, text, statement.params);
    return name;
  }

  #send(
    bound: readonly Bound[],
    preparing: boolean,
    withinMs: number,
  ): Promise<Result[]> {
    this.#flushSoon();
    const { promise, resolve, reject } = Promise.withResolvers<Result[]>();
    this.#exchanges.push({
      bound,
      results: [],
      preparing,
      withinMs,
      error: undefined,
      isUnreplicated: false,
      resolve,
      reject,
    });
    if (this.#exchanges.length === 1) this.#watch(withinMs);
    return promise;
  }

  /** Questions asked in one turn of the event loop leave in one write. */
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
    // Mostly the system has taken them already.
    if (socket.writableLength === 0) this.#writer.reuse();
  }

  /**
   * Half-open connections show only by silence. One timer serves many
   * questions: setting and clearing one each time costs more than a wake-up
   * now and then that finds nothing to do.
   */
  #watch(withinMs: number): void {
    this.#heardAt = performance.now();
    const due = this.#heardAt + withinMs;
    if (this.#answerTimer !== undefined && this.#answerTimerDue <= due) return;
    clearTimeout(this.#answerTimer);
    this.#checkSilenceIn(withinMs);
  }

  #checkSilenceIn(ms: number): void {
    this.#answerTimerDue = performance.now() + ms;
    this.#answerTimer = setTimeout(() => this.#checkSilence(), ms);
  }

  #checkSilence(): void {
    this.#answerTimer = undefined;
    const oldest = this.#exchanges[0];
    if (oldest === undefined) return;
    const now = performance.now();
    const silence = now - this.#heardAt;
    if (silence < oldest.withinMs) {
      return this.#checkSilenceIn(oldest.withinMs - silence);
    }
    // A process that slept has yet to read what was said meanwhile.
    if (now - this.#answerTimerDue > sleptMs) return this.#checkSilenceIn(10);
    this.#silentSince = this.#heardAt;
    this.destroy(`No answer from the server within ${Math.round(silence)} ms`);
  }

  #feed(chunk: Buffer): void {
    this.#heardAt = performance.now();
    this.#options.traffic?.received.add(chunk.length);
    try {
      this.#reader.feed(chunk);
    } catch (error) {
      this.destroy("The server's answer broke the protocol", error);
    }
  }

  #currentResult(): Result | undefined {
    const exchange = this.#exchanges[0];
    if (exchange === undefined) return undefined;
    exchange.results[0] ??= { rows: [], count: 0 };
    return exchange.results.at(-1);
  }

  #currentDecoders(): readonly Decoder[] | undefined {
    const exchange = this.#exchanges[0];
    if (exchange === undefined) return undefined;
    const index = Math.max(0, exchange.results.length - 1);
    return exchange.bound[index]?.statement.decoders;
  }

  #onMessage(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case code.commandComplete:
      case code.emptyQuery:
        return this.#onComplete(bytes, start, end);
      case code.readyForQuery:
        return this.#onReady();
      case code.error:
        return this.#onError(bytes, start, end);
      case code.notice:
        return this.#onNotice(bytes, start, end);
      case code.notification:
        return this.#notify(bytes, start, end);
      case code.parameterStatus:
        return this.#onParameter(bytes, start, end);
    }
  }

  /** The server reports what changed, not only to whom changed it. */
  #onParameter(bytes: Buffer, start: number, end: number): void {
    const [name, value] = bytes.toString("utf8", start, end).split("\0");
    const isReadOnly = name === "default_transaction_read_only" ||
      name === "in_hot_standby";
    if (isReadOnly && this.#transport.mustWrite) this.#retired = value === "on";
  }

  #onComplete(bytes: Buffer, start: number, end: number): void {
    const result = this.#currentResult();
    if (result === undefined) return;
    result.count = trailingNumber(bytes, start, end - 1);
    this.#exchanges[0]!.results.push({ rows: [], count: 0 });
  }

  #onError(bytes: Buffer, start: number, end: number): void {
    const fields = readErrorFields(bytes, start, end);
    const exchange = this.#exchanges[0];
    if (exchange === undefined) {
      // Unasked for: the server ends this session (administrator, shutdown).
      const error = new PgError(fields, -1);
      return this.destroy(error.message, error);
    }
    const index = exchange.preparing
      ? -1
      : Math.max(0, exchange.results.length - 1);
    const error = new PgError(fields, index);
    exchange.error ??= error;
    if (error.isStalePlan) this.#prepared.clear();
    if (error.severity === "FATAL") this.destroy(error.message, error);
  }

  /**
   * A commit whose wait for a synchronous standby was canceled is done, with no
   * more than this warning (PostgreSQL's syncrep.c). After a failover it may be
   * lost, so it must not be acknowledged.
   */
  #onNotice(bytes: Buffer, start: number, end: number): void {
    const fields = readErrorFields(bytes, start, end);
    const [exchange] = this.#exchanges;
    if (exchange && fields.get("R") === "SyncRepWaitForLSN") {
      exchange.isUnreplicated = true;
    }
  }

  #onReady(): void {
    const exchange = this.#exchanges[0];
    if (exchange === undefined) return;
    if (exchange.preparing) {
      exchange.preparing = false;
      if (exchange.error !== undefined) this.#prepared.clear();
      return;
    }
    const results = exchange.results;
    results.pop();
    checkCompleteness(exchange);
    this.#exchanges.shift();
    if (exchange.error !== undefined) exchange.reject(exchange.error);
    else if (!exchange.isUnreplicated) exchange.resolve(results);
    else {
      const message = "The commit has not reached its standby";
      exchange.reject(new ConnectionLostError(message, true));
    }
    if (this.#retired && this.#exchanges.length === 0) {
      return this.destroy("The server takes no writes any more");
    }
    this.#onIdle?.();
  }

  #notify(bytes: Buffer, start: number, end: number): void {
    const channelEnd = bytes.indexOf(0, start + 4);
    this.#onNotification?.({
      processId: bytes.readInt32BE(start),
      channel: bytes.toString("utf8", start + 4, channelEnd),
      payload: bytes.toString("utf8", channelEnd + 1, end - 1),
    });
  }
}

/** A statement that was not answered would look like one that found nothing. */
function checkCompleteness({ bound, results, error }: Exchange): void {
  const isScript = bound.length === 0;
  if (isScript || error !== undefined) return;
  if (results.length === bound.length) return;
  throw new RangeError(
    `Expected the results of ${bound.length} statements, got ${results.length}`,
  );
}
