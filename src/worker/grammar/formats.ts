/**
 * What a `format` asks of a string, as patterns. Each is a part of what its specification allows, in the form that is
 * usual: a model that is held to it writes what every validator takes.
 */
const OCTET = '(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])'
const LEAP_YEAR = '([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)'
const DATE = `([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|${LEAP_YEAR}-02-29)`
const TIME = '([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])'
const label = (most: number): string => `[a-zA-Z0-9]([a-zA-Z0-9-]{0,${most - 2}}[a-zA-Z0-9])?`
const ATOM = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+"
const GROUP = '[0-9a-fA-F]{1,4}'
const ESCAPED = '%[0-9a-fA-F]{2}'
const IN_PATH = `([a-zA-Z0-9._~!$&'()*+,;=:@/-]|${ESCAPED})*`
const IN_QUERY = `([a-zA-Z0-9._~!$&'()*+,;=:@/?-]|${ESCAPED})*`
const TIME_SPAN = '([0-9]{1,4}H([0-9]{1,4}M)?([0-9]{1,4}S)?|[0-9]{1,4}M([0-9]{1,4}S)?|[0-9]{1,4}S)'

/** By name. Sources: JSON Schema 2020-12, 7.3; RFC 3339, 5321, 1123, 2673, 4291, 4122, 3986; ISO 8601-2 for durations. */
export const FORMATS: Readonly<Record<string, string>> = {
  date: `^${DATE}$`,
  time: `^${TIME}$`,
  'date-time': `^${DATE}T${TIME}$`,
  duration: `^P([0-9]{1,4}W|([0-9]{1,4}Y([0-9]{1,4}M)?([0-9]{1,4}D)?|[0-9]{1,4}M([0-9]{1,4}D)?|[0-9]{1,4}D)(T${TIME_SPAN})?|T${TIME_SPAN})$`,
  email: `^${ATOM}(\\.${ATOM})*@([a-zA-Z0-9]+(-+[a-zA-Z0-9]+)*\\.)+[a-zA-Z]{2,24}$`,
  hostname: `^${label(63)}(\\.${label(24)}){0,7}$`,
  ipv4: `^(${OCTET}\\.){3}${OCTET}$`,
  ipv6: `^((${GROUP}:){7}${GROUP}|${shortened().join('|')})$`,
  uuid: '^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$',
  uri: `^[a-zA-Z][a-zA-Z0-9+.-]{1,30}://[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?(/${IN_PATH})?(\\?${IN_QUERY})?(#${IN_QUERY})?$`
}

/** `::` stands for at least one group: with `before` groups ahead of it, up to 6 - before follow, or 7 in all. */
function shortened (): string[] {
  return Array.from({ length: 8 }, (_, before) => {
    const ahead = before === 0 ? ':' : `(${GROUP}:){${before}}`
    const behind = 7 - before
    return behind === 0 ? `${ahead}:` : `${ahead}(:|(:${GROUP}){1,${behind}})`
  })
}
