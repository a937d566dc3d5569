/** The names in a TypeScript file: its text without comments and strings. */

/** A `/` after one of these begins a regular expression, not a division. */
const beforeRegExp = /(?:^|[(,=:[!&|?{};>]|\breturn)\s*$/;

/** Comments and strings, by the character that they begin with. */
const texts: Record<string, RegExp> = {
  "/": /\/\/[^\n]*|\/\*[^]*?\*\//y,
  '"': /"(?:\\.|[^"\\\n])*"/y,
  "'": /'(?:\\.|[^'\\\n])*'/y,
};
const regExp = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y;
/** A template's text up to its end or to its next `${`. */
const template = /(?:\\[^]|\$(?!\{)|[^`\\$])*(?:`|\$\{|$)/y;

/**
 * Replaces comments, strings, the texts of templates, and regular expressions
 * by blanks. Names keep their lines and columns.
 */
export function namesOnly(source: string): string {
  let code = "";
  /** For each template around this place: the braces open in its `${`. */
  const braces: number[] = [];
  const blank = (pattern: RegExp): string => {
    pattern.lastIndex = code.length;
    const [text = ""] = pattern.exec(source) ?? [];
    code += text.replace(/[^\n]/g, " ");
    return text;
  };
  const blankTemplate = () => {
    if (blank(template).endsWith("${")) braces.push(0);
  };
  while (code.length < source.length) {
    const char = source[code.length]!;
    const text = texts[char];
    if (text !== undefined && blank(text) !== "") continue;
    const mayBeRegExp = char === "/" && beforeRegExp.test(code.slice(-40));
    if (mayBeRegExp && blank(regExp) !== "") continue;
    code += char === "`" ? " " : char;
    if (char === "`") blankTemplate();
    if (char === "{" && braces.length > 0) braces.push(braces.pop()! + 1);
    if (char === "}" && braces.length > 0) {
      const open = braces.pop()!;
      if (open > 0) braces.push(open - 1);
      else blankTemplate();
    }
  }
  return code;
}
