/**
 * The small subset of XML that object stores answer with: elements that hold
 * text or elements; attributes are ignored.
 *
 * A reply may come from anyone, so it is read in one scan, whose work grows
 * linearly with its length and whose result is bounded. A document type is
 * refused, and with it every entity except the five that XML predefines.
 */

import { ReplyFault } from "./reply_fault.ts";

/** An element: its child elements, and the text between them. */
export interface XmlElement {
  readonly name: string;
  readonly children: XmlElement[];
  text: string;
}

/** The longest reply that is read as XML. */
const maxBytes = 4 * 1024 * 1024;
/** Stores need 4. */
const maxDepth = 32;
/** A page of 1000 objects has some 15 000. */
const maxElements = 100_000;

/** Each pattern matches at one position, and at most the length it states. */
const namePattern = /[\w.:-]{1,128}/y;
const entityPattern = /&(#?\w{1,8};)?/g;
const numberPattern = /^#(?:x([0-9a-f]+)|([0-9]+));$/i;

const entities: ReadonlyMap<string, string> = new Map([
  ["amp;", "&"],
  ["lt;", "<"],
  ["gt;", ">"],
  ["quot;", '"'],
  ["apos;", "'"],
]);

/**
 * Parses a document and returns its root.
 *
 * @throws {ReplyFault} `malformed_xml`: not XML, or larger or deeper than any
 *   document that a store sends.
 */
export function parseXml(bytes: Uint8Array): XmlElement {
  if (bytes.length > maxBytes) throw malformed("too_long", maxBytes);
  const nul = bytes.indexOf(0);
  if (nul >= 0) throw malformed("bad_character", nul);
  const scan = new Scan(textOf(bytes));
  while (scan.step());
  return scan.root();
}

/** Parses likewise; returns `undefined` for what is not a document. */
export function xmlOf(bytes: Uint8Array): XmlElement | undefined {
  try {
    return parseXml(bytes);
  } catch (error) {
    if (error instanceof ReplyFault) return undefined;
    throw error;
  }
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw malformed("bad_encoding", 0);
  }
}

/** The child elements of this name. */
export function xmlElements(
  { children }: XmlElement,
  name: string,
): XmlElement[] {
  return children.filter((child) => child.name === name);
}

/** The text of the first child element of this name. */
export function xmlText(
  { children }: XmlElement,
  name: string,
): string | undefined {
  return children.find((child) => child.name === name)?.text;
}

/** Escapes text for use as the content of an element. */
export function xmlEscape(text: string): string {
  return text.replace(
    /[&<>"']/g,
    (character) => `&#${character.charCodeAt(0)};`,
  );
}

/** Reads a document once, from beginning to end. */
class Scan {
  readonly #xml: string;
  #at = 0;
  #elements = 0;
  /** The document itself, followed by the open elements. */
  readonly #open: XmlElement[] = [{ name: "", children: [], text: "" }];

  constructor(xml: string) {
    this.#xml = xml;
  }

  /** Reads text and the tag after it; returns false at the end. */
  step(): boolean {
    const xml = this.#xml;
    const tag = xml.indexOf("<", this.#at);
    this.#inside.text += decoded(
      xml.slice(this.#at, tag < 0 ? xml.length : tag),
      this.#at,
    );
    if (tag < 0) return false;
    this.#at = tag;
    if (this.#skip("<!--")) this.#until("-->");
    else if (this.#skip("<![CDATA[")) this.#inside.text += this.#until("]]>");
    else if (this.#skip("<?")) this.#until("?>");
    else if (this.#skip("<!")) throw malformed("declaration", tag);
    else if (this.#skip("</")) this.#endTag();
    else this.#startTag();
    return true;
  }

  root(): XmlElement {
    const [{ children, text }, unclosed] = this.#open as [
      XmlElement,
      XmlElement?,
    ];
    if (unclosed !== undefined) throw malformed("unclosed", this.#at);
    const [root, other] = children;
    if (root === undefined || other !== undefined || text.trim() !== "") {
      throw malformed("not_one_root", this.#at);
    }
    return root;
  }

  get #inside(): XmlElement {
    return this.#open.at(-1)!;
  }

  #startTag(): void {
    this.#at++;
    const element: XmlElement = { name: this.#name(), children: [], text: "" };
    if (++this.#elements > maxElements) {
      throw malformed("too_many_elements", this.#at);
    }
    this.#inside.children.push(element);
    if (this.#attributes()) return;
    this.#open.push(element);
    if (this.#open.length > maxDepth) throw malformed("too_deep", this.#at);
  }

  #endTag(): void {
    const at = this.#at;
    if (this.#name() !== this.#inside.name || this.#open.length === 1) {
      throw malformed("wrong_end", at);
    }
    this.#open.pop();
    if (this.#attributes()) throw malformed("bad_tag", at);
  }

  #name(): string {
    namePattern.lastIndex = this.#at;
    const name = namePattern.exec(this.#xml)?.[0];
    if (name === undefined) throw malformed("bad_tag", this.#at);
    this.#at += name.length;
    return name;
  }

  /** Skips attributes and the tag's end; true if the tag closes itself. */
  #attributes(): boolean {
    const xml = this.#xml;
    const begin = this.#at;
    if (!"\t\n\r />".includes(xml.charAt(begin))) {
      throw malformed("bad_tag", begin);
    }
    for (let at = begin; at < xml.length; at++) {
      const character = xml[at];
      if (character === ">") {
        this.#at = at + 1;
        return at > begin && xml[at - 1] === "/";
      }
      if (character === "<") break;
      if (character !== '"' && character !== "'") continue;
      at = xml.indexOf(character, at + 1);
      if (at < 0) break;
    }
    throw malformed("bad_tag", begin);
  }

  #skip(text: string): boolean {
    if (!this.#xml.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  /** Returns the text before a mark and continues behind the mark. */
  #until(mark: string): string {
    const begin = this.#at;
    const end = this.#xml.indexOf(mark, begin);
    if (end < 0) throw malformed("unclosed", begin);
    this.#at = end + mark.length;
    return this.#xml.slice(begin, end);
  }
}

/** Text with its entities replaced. */
function decoded(text: string, at: number): string {
  if (!text.includes("&")) return text;
  return text.replace(entityPattern, (_, entity: string | undefined) => {
    const plain = entity === undefined ? undefined : plainOf(entity);
    if (plain === undefined) throw malformed("bad_entity", at);
    return plain;
  });
}

function plainOf(entity: string): string | undefined {
  const [, hex, decimal] = numberPattern.exec(entity) ?? [];
  if (hex === undefined && decimal === undefined) return entities.get(entity);
  const code = hex === undefined ? Number(decimal) : parseInt(hex, 16);
  // Lone surrogates are not text: they could not be sent on in an address.
  const isCharacter = code > 0 && code <= 0x10ffff &&
    (code < 0xd800 || code > 0xdfff);
  return isCharacter ? String.fromCodePoint(code) : undefined;
}

function malformed(problem: string, at: number): ReplyFault {
  return new ReplyFault({
    reason: "malformed_xml",
    retryable: true,
    details: { problem, at },
  });
}
