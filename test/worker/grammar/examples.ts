/** Schemas as callers send them, each with texts that its grammar allows and texts that it does not. */
export interface Example {
  readonly says: string
  readonly schema: unknown
  readonly strict?: boolean
  readonly allows: readonly string[]
  readonly refuses: readonly string[]
}

const PERSON = { type: 'object', properties: { name: { type: 'string', maxLength: 12 }, age: { type: 'integer', minimum: 0, maximum: 150 } }, required: ['name', 'age'], additionalProperties: false }
const TREE = {
  type: 'object',
  properties: { value: { type: 'integer', minimum: 0, maximum: 9 }, children: { type: 'array', items: { $ref: '#/$defs/tree' }, maxItems: 2 } },
  required: ['value', 'children'],
  additionalProperties: false
}

export const EXAMPLES: readonly Example[] = [
  {
    says: 'members come in declared order, with at most one space after a comma or colon',
    schema: PERSON,
    allows: ['{"name":"Ann","age":41}', '{"name": "Ann", "age": 0}', '{"name":"\\u00e9\\n\\"","age":150}'],
    refuses: ['{"age":41,"name":"Ann"}', '{"name":"Ann"}', '{"name":"Ann","age":151}', '{"name":"Ann","age":4.5}', '{"name":"Ann","age":041}', '{"name":"Ann","age":41,"x":1}', '{"name":"Ann" ,"age":41}', '{ "name":"Ann","age":41}', '{"name":"Ann",  "age":41}', '{"name":"Ann","age":41}\n']
  },
  {
    says: 'of optional members any may be missing',
    schema: { type: 'object', properties: { a: { const: 1 }, b: { const: 2 }, c: { const: 3 } }, required: ['b'], additionalProperties: false },
    allows: ['{"b":2}', '{"a":1,"b":2}', '{"b":2,"c":3}', '{"a":1,"b":2,"c":3}'],
    refuses: ['{}', '{"a":1}', '{"a":1,"c":3}', '{"c":3,"b":2}', '{"b":2,"b":2}', '{,"b":2}', '{"b":2,}']
  },
  {
    says: 'all may be missing',
    schema: { type: 'object', properties: { a: { const: 1 }, b: { const: 2 } } },
    allows: ['{}', '{"a":1}', '{"b":2}', '{"a":1,"b":2}'],
    refuses: ['{"b":2,"a":1}', '{"z":0}']
  },
  {
    says: 'one at least',
    schema: { type: 'object', properties: { a: { const: 1 }, b: { const: 2 } }, minProperties: 1 },
    allows: ['{"a":1}', '{"b":2}'],
    refuses: ['{}']
  },
  {
    says: 'other members follow the declared ones, and are never called like them',
    schema: { type: 'object', properties: { id: { const: 7 }, idle: { const: true } }, required: ['id'], additionalProperties: { type: 'integer', minimum: 0, maximum: 9 } },
    allows: ['{"id":7}', '{"id":7,"x":1}', '{"id":7,"idle":true,"i":1,"idl":2,"idles":3,"":4}', '{"id":7,"\\n":5,"\\u0001":5,"é":6}'],
    refuses: ['{"id":7,"id":1}', '{"id":7,"x":1,"idle":1}', '{"id":7,"\\u0069d":1}', '{"x":1,"id":7}', '{"id":7,"x":"1"}']
  },
  {
    says: 'names of other members follow a pattern',
    schema: { type: 'object', propertyNames: { pattern: '^[a-z]{1,3}$' }, additionalProperties: { type: 'boolean' }, maxProperties: 2 },
    allows: ['{}', '{"ab":true}', '{"a":true,"b":false}'],
    refuses: ['{"abcd":true}', '{"A":true}', '{"a":1}', '{"a":true,"b":true,"c":true}']
  },
  {
    says: 'a record of listed names',
    schema: { type: 'object', propertyNames: { type: 'string', enum: ['en', 'de'] }, additionalProperties: { type: 'string', maxLength: 3 }, required: ['en'] },
    allows: ['{"en":"a"}', '{"en":"a","de":"b"}'],
    refuses: ['{"de":"b"}', '{"en":"a","fr":"c"}']
  },
  {
    says: 'patterns of names, each with its own values',
    schema: { type: 'object', properties: { x: { const: 0 } }, patternProperties: { '^n': { type: 'integer', maximum: 5, minimum: 1 }, d$: { type: 'integer', minimum: 4, maximum: 9 } }, additionalProperties: false },
    allows: ['{}', '{"x":0,"n":1}', '{"d":9}', '{"nd":5,"nd":4}'],
    refuses: ['{"n":9}', '{"d":1}', '{"nd":3}', '{"nd":6}', '{"y":1}']
  },
  {
    says: 'names with quotes, backslashes and line breaks',
    schema: { type: 'object', properties: { 'a"b': { const: 1 }, 'c\\d': { const: 2 }, 'e\nf': { const: 3 }, '😀': { const: 4 } }, required: ['a"b', 'c\\d', 'e\nf', '😀'], additionalProperties: false },
    allows: ['{"a\\"b":1,"c\\\\d":2,"e\\nf":3,"😀":4}'],
    refuses: ['{"a"b":1,"c\\\\d":2,"e\\nf":3,"😀":4}']
  },
  {
    says: 'member names that every object in JavaScript has',
    schema: JSON.parse('{"type":"object","properties":{"__proto__":{"const":1},"constructor":{"const":2},"toString":{"const":3}},"required":["__proto__"],"additionalProperties":false}') as unknown,
    allows: ['{"__proto__":1}', '{"__proto__":1,"constructor":2,"toString":3}'],
    refuses: ['{}', '{"constructor":2}', '{"__proto__":2}']
  },
  {
    says: 'an object without a word is any object',
    schema: { type: 'object' },
    allows: ['{}', '{"a":[1,{"b":null}]}'],
    refuses: ['[]', '{"a"}', '{"a":1,}']
  },
  {
    says: 'in strict mode it is an empty one',
    schema: { type: 'object' },
    strict: true,
    allows: ['{}'],
    refuses: ['{"a":1}']
  },
  {
    says: 'strict mode keeps optional members optional',
    schema: { type: 'object', properties: { a: { const: 1 }, b: { const: 2 } }, required: ['a'] },
    strict: true,
    allows: ['{"a":1}', '{"a":1,"b":2}'],
    refuses: ['{}', '{"a":1,"c":2}']
  },
  {
    says: 'bounds of arrays',
    schema: { type: 'array', items: { enum: ['x', 'y'] }, minItems: 1, maxItems: 3 },
    allows: ['["x"]', '["x","y", "x"]'],
    refuses: ['[]', '["x","x","x","x"]', '["z"]', '["x",]', '[ "x"]']
  },
  {
    says: 'tuples, whole or from the front',
    schema: { type: 'array', prefixItems: [{ const: 'a' }, { type: 'boolean' }, { type: 'null' }], items: false, minItems: 1 },
    allows: ['["a"]', '["a",true]', '["a",false,null]'],
    refuses: ['[]', '[true]', '["a",null]', '["a",true,null,1]']
  },
  {
    says: 'tuples of older drafts, with further items',
    schema: { type: 'array', items: [{ const: 1 }, { const: 2 }], additionalItems: { const: 3 }, minItems: 2, maxItems: 4 },
    allows: ['[1,2]', '[1,2,3]', '[1, 2, 3, 3]'],
    refuses: ['[1]', '[1,2,3,3,3]', '[1,2,2]']
  },
  {
    says: 'the same items never come twice when there can be only one',
    schema: { type: 'array', items: { type: 'null' }, uniqueItems: true, maxItems: 1 },
    allows: ['[]', '[null]'],
    refuses: ['[null,null]']
  },
  {
    says: 'a schema that refers to itself',
    schema: { $ref: '#/$defs/tree', $defs: { tree: TREE } },
    allows: ['{"value":1,"children":[]}', '{"value":1,"children":[{"value":2,"children":[{"value":3,"children":[]}]},{"value":4,"children":[]}]}'],
    refuses: ['{"value":1,"children":[{}]}', '{"value":1,"children":[null]}']
  },
  {
    says: 'a reference to the whole, and one by name',
    schema: { $id: 'node', type: 'object', properties: { v: { const: 1 }, next: { anyOf: [{ $ref: '#' }, { $ref: 'node' }, { type: 'null' }] } }, required: ['v', 'next'] },
    allows: ['{"v":1,"next":{"v":1,"next":null}}'],
    refuses: ['{"v":1}', '{"v":1,"next":{}}']
  },
  {
    says: 'references with escaped tokens',
    schema: { $ref: '#/definitions/a~1b%20c~0d', definitions: { 'a/b c~d': { const: 'found' } } },
    allows: ['"found"'],
    refuses: ['"lost"']
  },
  {
    says: 'a reference with more keywords besides',
    schema: { $ref: '#/$defs/short', minLength: 2, $defs: { short: { type: 'string', maxLength: 3 } } },
    allows: ['"ab"', '"abc"'],
    refuses: ['"a"', '"abcd"']
  },
  {
    says: 'alternatives',
    schema: { anyOf: [{ type: 'null' }, { type: 'integer', minimum: 10, maximum: 12 }, { enum: ['a', 'b'] }] },
    allows: ['null', '10', '12', '"a"'],
    refuses: ['13', '"c"', 'true']
  },
  {
    says: 'one of several, told apart by a constant',
    schema: {
      oneOf: [
        { type: 'object', properties: { type: { const: 'circle' }, r: { const: 1 } }, required: ['type', 'r'], additionalProperties: false },
        { type: 'object', properties: { type: { const: 'square' }, a: { const: 2 } }, required: ['type', 'a'], additionalProperties: false }
      ]
    },
    allows: ['{"type":"circle","r":1}', '{"type":"square","a":2}'],
    refuses: ['{"type":"circle","a":2}', '{"type":"square"}']
  },
  {
    says: 'one of several, told apart by members that the others do not have',
    schema: { oneOf: [{ type: 'object', properties: { a: { const: 1 } }, required: ['a'], additionalProperties: false }, { type: 'object', properties: { b: { const: 2 } }, required: ['b'], additionalProperties: false }] },
    allows: ['{"a":1}', '{"b":2}'],
    refuses: ['{}', '{"a":1,"b":2}']
  },
  {
    says: 'one of several, told apart by their bounds',
    schema: { oneOf: [{ type: 'integer', exclusiveMaximum: 0, minimum: -3 }, { type: 'integer', minimum: 0, maximum: 2 }, { type: 'string', maxLength: 1 }, { type: 'string', minLength: 2, maxLength: 2 }] },
    allows: ['-3', '-1', '0', '2', '""', '"ab"'],
    refuses: ['-4', '3', '"abc"']
  },
  {
    says: 'several at once',
    schema: { allOf: [{ type: 'object', properties: { a: { type: 'integer', minimum: 1 } }, required: ['a'] }, { properties: { a: { maximum: 3 }, b: { const: 'x' } }, required: ['b'] }], unevaluatedProperties: false },
    allows: ['{"a":1,"b":"x"}', '{"a":3,"b":"x"}'],
    refuses: ['{"a":1}', '{"a":4,"b":"x"}', '{"a":1,"b":"x","c":0}']
  },
  {
    says: 'what holds always, with alternatives besides',
    schema: { type: 'object', properties: { id: { const: 1 } }, required: ['id'], anyOf: [{ properties: { a: { const: 2 } }, required: ['a'] }, { properties: { b: { const: 3 } }, required: ['b'] }] },
    allows: ['{"id":1,"a":2}', '{"id":1,"b":3}'],
    refuses: ['{"id":1}', '{"a":2}']
  },
  {
    says: 'constants of any kind, compact and in their own order',
    schema: { enum: [1, -0.5, 'a"b', null, true, { b: [1, { c: null }], a: '' }, [], 1e21] },
    allows: ['1', '-0.5', '"a\\"b"', 'null', 'true', '{"b":[1,{"c":null}],"a":""}', '[]', '1e+21'],
    refuses: ['false', '{"a":"","b":[1,{"c":null}]}', '2']
  },
  {
    says: 'a list of values is cut down to those that are valid',
    schema: { type: 'string', enum: ['a', 'bb', 'ccc', 4, null], minLength: 2, pattern: '^[bc]+$' },
    allows: ['"bb"', '"ccc"'],
    refuses: ['"a"', '4', 'null']
  },
  {
    says: 'null besides a type, in three ways',
    schema: { type: 'array', prefixItems: [{ type: ['boolean', 'null'] }, { type: 'boolean', nullable: true }, { anyOf: [{ type: 'boolean' }, { type: 'null' }] }], minItems: 3, items: false },
    allows: ['[null,null,null]', '[true,false,true]'],
    refuses: ['[0,null,null]']
  },
  {
    says: 'characters are counted as Unicode does, however they are written',
    schema: { type: 'string', minLength: 2, maxLength: 3 },
    allows: ['"ab"', '"😀😀😀"', '"\\ud83d\\ude00b"', '"\\n\\u0000\\/"'],
    refuses: ['"a"', '"abcd"', '"😀"', '"\\ud83d"', '"\\ude00\\ud83d"', '"a\nb"', '"\\x41\\x41"']
  },
  {
    says: 'a long bound is counted exactly',
    schema: { type: 'string', minLength: 600, maxLength: 1000 },
    allows: [600, 601, 777, 999, 1000].map(length => JSON.stringify('x'.repeat(length))),
    refuses: [0, 1, 599, 1001].map(length => JSON.stringify('x'.repeat(length)))
  },
  {
    says: 'a pattern is found anywhere, unless it is anchored',
    schema: { type: 'array', prefixItems: [{ type: 'string', pattern: 'b+' }, { type: 'string', pattern: '^b' }, { type: 'string', pattern: 'b$' }, { type: 'string', pattern: '^b$|^c' }], minItems: 4, items: false },
    allows: ['["abba","bx","xb","b"]', '["b","b","b","cd"]'],
    refuses: ['["ac","b","b","b"]', '["b","xb","b","b"]', '["b","b","bx","b"]', '["b","b","b","bb"]']
  },
  {
    says: 'characters that JSON escapes are escaped in patterns, too',
    schema: { type: 'string', pattern: '^["\\\\\\n\\x01]{4}$' },
    allows: ['"\\"\\\\\\n\\u0001"'],
    refuses: ['"\\"\\\\\\u000a\\u0001"', '"abcd"']
  },
  {
    says: 'a pattern, a format and a length at once',
    schema: { type: 'string', format: 'email', pattern: "^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-\\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$", maxLength: 12 },
    allows: ['"a.b@c.de"', '"abcde@ghi.jk"'],
    refuses: ['"abcdef@ghi.jk"', '".a@c.de"', '"a..b@c.de"', '"a@b"', '"a"']
  },
  {
    says: 'dates that exist',
    schema: { type: 'string', format: 'date' },
    allows: ['"2024-02-29"', '"2000-02-29"', '"2023-12-31"'],
    refuses: ['"2023-02-29"', '"1900-02-29"', '"2023-04-31"', '"2023-13-01"', '"2023-00-10"', '"23-01-01"']
  },
  {
    says: 'times with a zone',
    schema: { type: 'string', format: 'date-time' },
    allows: ['"2024-02-29T23:59:59Z"', '"2024-01-01T00:00:00.123+05:30"'],
    refuses: ['"2024-02-30T00:00:00Z"', '"2024-01-01T24:00:00Z"', '"2024-01-01T00:00:00"', '"2024-01-01 00:00:00Z"']
  },
  {
    says: 'numbers between bounds, to the last digit',
    schema: { type: 'number', minimum: -1.5, exclusiveMaximum: 2.25 },
    allows: ['-1.5', '-1', '-0.001', '0', '0.0001', '1.999', '2', '2.2499'],
    refuses: ['-1.51', '-2', '2.25', '2.3', '3', '-0', '-0.0', '01', '1.', '.5', '1e0']
  },
  {
    says: 'numbers of any size',
    schema: { type: 'number' },
    allows: ['0', '-1', '3.14', '1e10', '-2.5E-3', '6.02e+23', '123456789012345678901', '1e307', '5e-324'],
    refuses: ['1e400', '01', '+1', '1.', '.5', 'NaN', '1e', '--1']
  },
  {
    says: 'bounds beyond what is counted exactly',
    schema: { type: 'integer', exclusiveMinimum: 9007199254740992, maximum: 9007199254740996 },
    allows: ['9007199254740994', '9007199254740996'],
    refuses: ['9007199254740992', '9007199254740993', '9007199254740997']
  },
  {
    says: 'bounds as draft 4 has them',
    schema: { type: 'integer', minimum: 1, exclusiveMinimum: true, maximum: 5, exclusiveMaximum: false },
    allows: ['2', '5'],
    refuses: ['1', '6']
  },
  {
    says: 'fractional bounds of integers',
    schema: { type: 'integer', minimum: -1.5, maximum: 1.5 },
    allows: ['-1', '0', '1'],
    refuses: ['-2', '2', '0.5', '-0']
  },
  {
    says: 'prices',
    schema: { type: 'number', multipleOf: 0.01, minimum: 0, maximum: 100 },
    allows: ['0', '19.99', '5.5', '100'],
    refuses: ['19.999', '100.01', '-1']
  },
  {
    says: 'multiples within bounds',
    schema: { type: 'integer', multipleOf: 15, exclusiveMinimum: -30, maximum: 45 },
    allows: ['-15', '0', '15', '45'],
    refuses: ['-30', '10', '60']
  },
  {
    says: 'what no value satisfies is left out where it can be',
    schema: { type: 'object', properties: { a: false, b: { type: 'string', minLength: 2, maxLength: 1 }, c: { anyOf: [{ const: 1, type: 'string' }, { const: 2 }] }, d: { type: 'array', items: false } }, required: ['c'] },
    allows: ['{"c":2}', '{"c":2,"d":[]}'],
    refuses: ['{"a":1,"c":2}', '{"b":"","c":2}', '{"c":1}', '{"c":2,"d":[1]}']
  },
  {
    says: 'a schema without a type means the type that its keywords are about',
    schema: { properties: { a: { maxLength: 1 } }, required: ['a'], additionalProperties: false },
    allows: ['{"a":""}', '{"a":"x"}'],
    refuses: ['{"a":"xy"}', '{"a":1}', '1']
  },
  {
    says: 'what says nothing about validity is no hindrance',
    schema: { $schema: 'https://json-schema.org/draft/2020-12/schema', $id: 'https://example.com/x', title: 't', description: 'd', default: 1, examples: [2], $comment: 'c', deprecated: true, readOnly: true, writeOnly: false, 'x-order': 3, const: 'x' },
    allows: ['"x"'],
    refuses: ['1']
  },
  {
    says: 'true is anything',
    schema: true,
    allows: ['null', '[{"a":[]}]', '-1.5e3'],
    refuses: ['', 'nul', '[1 ,2]']
  }
]
