/**
 * What the server says on a session, taken as the answer to what was asked.
 *
 * Answers come in the order of the questions. Each message is held against the
 * oldest one (exchange.ts), its time (answer_timer.ts), and the transaction that
 * the server should be in, or not (transaction_status.ts). What does not fit
 * breaks the connection: nothing of it, and nothing after it, can be believed.
 */

import type { Buffer } from "node:buffer";
import { AnswerTimer, type Lateness } from "./answer_timer.ts";
import { Exchange, type Question } from "./exchange.ts";
import { ConnectionLostError, PgError, readErrorFields } from "./pg_error.ts";
import type { PreparedStatements } from "./prepared_statements.ts";
import { isMisfit, type SessionAttrs } from "./session_attrs.ts";
import type { Result } from "./statement.ts";
import {
  OpenTransactionError,
  TransactionStatus,
} from "./transaction_status.ts";
import { BackendReader } from "./wire/backend.ts";
import { trailingNumber } from "./wire/command_tag.ts";

const code = {
  commandComplete: 0x43,
  emptyQuery: 0x49,
  error: 0x45,
  notice: 0x4e,
  notification: 0x41,
  parameterStatus: 0x53,
  parseComplete: 0x31,
  readyForQuery: 0x5a,
} as const;

/** A notification from `NOTIFY`. */
export interface Notification {
  channel: string;
  payload: string;
  /** The process id of the session that notified. */
  processId: number;
}

/** Whose answers they are. */
export interface AnswersListener {
  prepared: PreparedStatements;
  /** What the server has to stay. */
  attrs: SessionAttrs;
  /** The server broke the protocol, or ends the session. */
  broken(reason: string, cause: unknown): void;
  /** The oldest question was not answered in time. */
  late(lateness: Lateness): void;
  /** A question was answered. */
  answered(): void;
}

/** The questions of a session that are open; see the file's head. */
export class Answers {
  readonly #listener: AnswersListener;
  readonly #reader: BackendReader;
  readonly #exchanges: Exchange[] = [];
  readonly #timer: AnswerTimer;
  readonly #status = new TransactionStatus();
  /** What came at last has a part of an answer in it. */
  #isAnswer = false;
  /** Parameters with values that do not fit the session's attributes. */
  readonly #misfits = new Set<string>();
  #isUnfit = false;
  #onNotification: ((notification: Notification) => void) | undefined;

  constructor(listener: AnswersListener) {
    this.#listener = listener;
    this.#timer = new AnswerTimer((lateness) => listener.late(lateness));
    this.#reader = new BackendReader({
      rowDecoders: () => this.#current.decoders,
      row: (values, bytes) => this.#current.row(values, bytes),
      message: (...message) => this.#onMessage(...message),
    });
  }

  /** How many questions are open. */
  get open(): number {
    return this.#exchanges.length;
  }

  /** When the server last said anything, as `performance.now()` tells it. */
  get receivedAt(): number {
    return this.#timer.receivedAt;
  }

  /** The server's session can't do its work, or not any more. */
  get isUnfit(): boolean {
    return this.#misfits.size > 0 || this.#isUnfit;
  }

  onNotification(callback: (notification: Notification) => void): void {
    this.#onNotification = callback;
  }

  /** The answer to a question that is just being sent. */
  to(question: Question): Promise<Result[]> {
    const exchange = new Exchange(question);
    this.#exchanges.push(exchange);
    if (this.#exchanges.length === 1) this.#timer.asked(question.withinMs);
    return exchange.answer;
  }

  /** No more answers: the questions fail. */
  end(failure: () => ConnectionLostError): void {
    this.#timer.clear();
    for (const exchange of this.#exchanges.splice(0)) {
      exchange.reject(failure());
    }
  }

  /** Takes what has come; the chunk is not used after the return. */
  feed(chunk: Buffer): void {
    this.#timer.received();
    this.#isAnswer = false;
    try {
      this.#reader.feed(chunk);
    } catch (error) {
      const reason = error instanceof OpenTransactionError
        ? error.message
        : "The server's answer broke the protocol";
      return this.#listener.broken(reason, error);
    }
    if (this.#isAnswer || this.#reader.isInRow) this.#timer.answered();
  }

  /** What the server speaks of; it speaks of nothing unasked. */
  get #current(): Exchange {
    const exchange = this.#exchanges[0];
    if (exchange === undefined) throw new RangeError("Expected no answer");
    this.#isAnswer = true;
    return exchange;
  }

  #onMessage(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case code.commandComplete:
      case code.emptyQuery:
        return this.#onComplete(bytes, start, end);
      case code.readyForQuery:
        return this.#onReady(bytes, start, end);
      case code.error:
        return this.#onError(bytes, start, end);
      case code.notice:
        return this.#onNotice(bytes, start, end);
      case code.notification:
        return this.#notify(bytes, start, end);
      case code.parameterStatus:
        return this.#onParameter(bytes, start, end);
      case code.parseComplete:
        return this.#current.parsed();
      default:
        this.#isAnswer = true;
    }
  }

  /** The server reports what changed, not only to whom changed it. */
  #onParameter(bytes: Buffer, start: number, end: number): void {
    const { attrs } = this.#listener;
    if (attrs === "any") return;
    const [name, value] = bytes.toString("utf8", start, end).split("\0");
    if (isMisfit(attrs, name, value)) this.#misfits.add(name!);
    else this.#misfits.delete(name!);
  }

  #onComplete(bytes: Buffer, start: number, end: number): void {
    this.#current.completed(trailingNumber(bytes, start, end - 1));
    this.#status.completed(bytes, start, end - 1);
  }

  #onError(bytes: Buffer, start: number, end: number): void {
    const fields = readErrorFields(bytes, start, end);
    const [exchange] = this.#exchanges;
    if (exchange === undefined) {
      // Unasked for: the server ends this session (administrator, shutdown).
      const error = new PgError(fields, -1);
      return this.#listener.broken(error.message, error);
    }
    this.#isAnswer = true;
    this.#status.refused();
    const error = new PgError(fields, exchange.index);
    exchange.error ??= error;
    const { failed } = exchange;
    if (error.sqlState !== "26000") {
      if (error.isStalePlan) this.#listener.prepared.renew();
    } else if (failed !== undefined) this.#listener.prepared.lost(failed);
    this.#isUnfit ||= error.isOfSession;
    if (error.severity === "FATAL") {
      this.#listener.broken(error.message, error);
    }
  }

  /**
   * A commit whose wait for a synchronous standby was canceled is done, with no
   * more than this warning (PostgreSQL's syncrep.c). After a failover it may be
   * lost, so it must not be acknowledged.
   */
  #onNotice(bytes: Buffer, start: number, end: number): void {
    const [exchange] = this.#exchanges;
    if (exchange === undefined) return;
    const fields = readErrorFields(bytes, start, end);
    if (fields.get("R") === "SyncRepWaitForLSN") exchange.isUnreplicated = true;
  }

  #onReady(bytes: Buffer, start: number, end: number): void {
    const exchange = this.#current;
    this.#status.ready(bytes, start, end);
    if (exchange.isPreparing) {
      return this.#listener.prepared.remove(exchange.prepared());
    }
    const { error } = exchange;
    const results = error === undefined ? exchange.results : undefined;
    this.#exchanges.shift();
    this.#timer.next(this.#exchanges[0]?.question.withinMs);
    if (results === undefined) exchange.reject(error);
    else if (!exchange.isUnreplicated) exchange.resolve(results);
    else {
      const message = "The commit has not reached its standby";
      exchange.reject(new ConnectionLostError(message, true));
    }
    this.#listener.answered();
  }

  #notify(bytes: Buffer, start: number, end: number): void {
    if (this.#onNotification === undefined) return;
    const channelEnd = bytes.indexOf(0, start + 4);
    if (channelEnd < 0 || channelEnd >= end) {
      throw new RangeError("Expected a notification with a channel");
    }
    this.#onNotification({
      processId: bytes.readInt32BE(start),
      channel: bytes.toString("utf8", start + 4, channelEnd),
      payload: bytes.toString("utf8", channelEnd + 1, end - 1),
    });
  }
}
