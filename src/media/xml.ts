/**
 * The little of XML that object stores answer with: elements that hold text or
 * elements, no attributes that matter. Whatever does not look so is not found,
 * and the caller then refuses the reply.
 */

const entities: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
};

/** The contents of every element of this name, as they stand in the text. */
export function xmlElements(xml: string, name: string): string[] {
  const pattern = new RegExp(
    `<${name}(?:\\s[^>]*)?(?:/>|>([\\s\\S]*?)</${name}>)`,
    "g",
  );
  return [...xml.matchAll(pattern)].map((match) => match[1] ?? "");
}

/** The text of the first element of this name. */
export function xmlText(xml: string, name: string): string | undefined {
  const [content] = xmlElements(xml, name);
  if (content === undefined) return undefined;
  return content.replace(
    /&(?:#x([0-9a-f]+)|#([0-9]+)|([a-z]+));/gi,
    (all, hex, decimal, word) => {
      if (word !== undefined) return entities[word] ?? all;
      return String.fromCodePoint(
        hex === undefined ? Number(decimal) : parseInt(hex, 16),
      );
    },
  );
}

/** Text as the content of an element. */
export function xmlEscape(text: string): string {
  return text.replace(
    /[&<>"']/g,
    (character) => `&#${character.charCodeAt(0)};`,
  );
}
