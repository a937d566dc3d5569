/** Searches everything that a store shows for secrets, in every form. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { inspect } from "node:util";

/** Known secrets by name, and the places where they were found. */
export class SecretSearch {
  /** The forms of each secret, for text without white space. */
  readonly #forms = new Map<string, string[]>();
  readonly #found = new Set<string>();
  #texts = 0;

  /** Makes a secret of letters and digits, which no encoding of text changes. */
  invent(what: string): string {
    const noise = crypto.randomUUID().replaceAll("-", "");
    const secret = `Mark${noise.slice(0, 20)}`;
    this.add(what, secret);
    return secret;
  }

  /** Adds a secret that was made elsewhere. */
  add(what: string, secret: string): void {
    assert.ok(secret.length >= 20, `${what} is too short to be unique`);
    const bytes = Buffer.from(secret);
    this.#forms.set(what, [
      secret.replaceAll(/\s/g, ""),
      bytes.toString("hex"),
      bytes.toString("hex").toUpperCase(),
      [...bytes].join(","),
      ...base64Cores(bytes),
    ]);
  }

  /** The number of texts that were searched. */
  get texts(): number {
    return this.#texts;
  }

  /** Searches a value in every way in which people and programs may see it. */
  see(where: string, value: unknown): void {
    for (const text of viewsOf(value)) this.#look(where, text);
  }

  /** Fails if anything was found since the last time. */
  assertNothing(): void {
    assert.deepEqual(this.take(), []);
  }

  /** The findings since the last time. */
  take(): string[] {
    const found = [...this.#found];
    this.#found.clear();
    return found;
  }

  #look(where: string, text: string): void {
    this.#texts++;
    // Bytes may be shown with blanks between them, or with their indices.
    const close = text.replaceAll(/\s/g, "").replaceAll(/"?\d+"?:(?=\d)/g, "");
    for (const [what, forms] of this.#forms) {
      if (forms.some((form) => close.includes(form))) {
        this.#found.add(`${where}: ${what}`);
      }
    }
  }
}

/** The parts of the base64 form that do not depend on the bytes before. */
function base64Cores(bytes: Buffer): string[] {
  return [0, 1, 2].map((offset) => {
    const shifted = Buffer.concat([Buffer.alloc(offset), bytes]);
    const whole = shifted.subarray(0, shifted.length - shifted.length % 3);
    return whole.toString("base64").slice(offset === 0 ? 0 : 4);
  });
}

interface Inspector {
  inspect(value: unknown, options: Record<string, unknown>): string;
}

/** The texts that logs and screens may make of a value. */
function* viewsOf(value: unknown): Generator<string> {
  yield* typeof value === "string" ? [value] : [];
  const { Deno, Bun } = globalThis as { Deno?: Inspector; Bun?: Inspector };
  for (
    const view of [
      () => String(value),
      () => JSON.stringify(value, plain),
      () =>
        inspect(value, {
          depth: Infinity,
          showHidden: true,
          maxArrayLength: null,
          maxStringLength: null,
        }),
      () =>
        Deno?.inspect(value, {
          depth: 50,
          showHidden: true,
          getters: true,
          iterableLimit: 1e6,
          strAbbreviateSize: 1e6,
        }),
      () => Bun?.inspect(value, { depth: 50 }),
    ]
  ) {
    try {
      yield view() ?? "";
    } catch {
      // The value has no text of this kind.
    }
  }
  yield* errorsBelow(value);
}

function plain(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}

/** The errors inside a value, which other views may leave out. */
function* errorsBelow(value: unknown, depth = 0): Generator<string> {
  if (!(value instanceof Error) || depth > 16) return;
  for (const name of Object.getOwnPropertyNames(value)) {
    const part = (value as unknown as Record<string, unknown>)[name];
    yield `${name}: ${part}`;
    try {
      yield JSON.stringify(part, plain) ?? "";
    } catch {
      // The value refers to itself.
    }
    for (const error of [part].flat()) yield* errorsBelow(error, depth + 1);
  }
}
