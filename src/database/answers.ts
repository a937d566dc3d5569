/**
 * Matches what the server sends on a session to the open questions.
 *
 * Answers come in the order of the questions. Each message is checked against
 * the oldest question (exchange.ts), its time limit (answer_timer.ts), and the
 * expected state of the transaction (transaction_status.ts). A message that
 * does not fit breaks the connection: neither it nor anything after it can be
 * trusted.
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

/** The session that receives the results. */
export interface AnswersListener {
  prepared: PreparedStatements;
  /** The attributes that the server must keep. */
  attrs: SessionAttrs;
  /** Called when the server has broken the protocol, or ends the session. */
  broken(reason: string, cause: unknown): void;
  /** Called when the oldest question was not answered in time. */
  late(lateness: Lateness): void;
  /** Called when a question was answered. */
  answered(): void;
}

/** The open questions of a session; see the head of this file. */
export class Answers {
  readonly #listener: AnswersListener;
  readonly #reader: BackendReader;
  readonly #exchanges: Exchange[] = [];
  readonly #timer: AnswerTimer;
  readonly #status = new TransactionStatus();
  /** Whether the present chunk has a part of an answer. */
  #isAnswer = false;
  /** Parameters whose values do not fit the session's attributes. */
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

  /** The number of open questions. */
  get open(): number {
    return this.#exchanges.length;
  }

  /** When the server last sent anything, in the time of `performance.now()`. */
  get receivedAt(): number {
    return this.#timer.receivedAt;
  }

  /** Whether the server's session can't do its work, or no longer can. */
  get isUnfit(): boolean {
    return this.#misfits.size > 0 || this.#isUnfit;
  }

  onNotification(callback: (notification: Notification) => void): void {
    this.#onNotification = callback;
  }

  /** Registers a question that is just being sent; returns its answer. */
  to(question: Question): Promise<Result[]> {
    const exchange = new Exchange(question);
    this.#exchanges.push(exchange);
    if (this.#exchanges.length === 1) this.#timer.asked(question.withinMs);
    return exchange.answer;
  }

  /** Ends all answers: the open questions fail. */
  end(failure: () => ConnectionLostError): void {
    this.#timer.clear();
    for (const exchange of this.#exchanges.splice(0)) {
      exchange.reject(failure());
    }
  }

  /** Takes in what has come; does not keep the chunk. */
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

  /** The question being answered; the server must send nothing unasked. */
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

  /** The server reports every change, not only to the session that made it. */
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
      // Sent unasked: the server ends this session (administrator, shutdown).
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
   * If a commit's wait for a synchronous standby is canceled, the commit is
   * done, and this warning is the only sign of it (PostgreSQL's syncrep.c). A
   * failover may lose the commit, so it must not be acknowledged.
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
