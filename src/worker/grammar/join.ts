/** Grammars made of others, and of words. */

/** A text as it stands, in GBNF; nothing for none. */
export function literal (text: string): string {
  if (text === '') return ''
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n').replaceAll('\r', '\\r')}"`
}

/** A grammar with other names for its rules, its root too, so that several fit into one. */
export function prefixed (grammar: string, prefix: string): string {
  return grammar.replaceAll(/"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|[a-zA-Z][a-zA-Z0-9-]*/g, found => /^[a-zA-Z]/.test(found) ? prefix + found : found)
}
