import { test } from 'tap'
import { localityOfAddress, networks } from '../../src/egress/address.ts'
import type { Locality } from '../../src/config/schema.ts'

const DOMAIN = networks(['203.0.113.0/24', '2001:db8:77::/48'])

const TABLE: Array<[Locality | null, string[]]> = [
  ['local', ['127.0.0.1', '127.255.255.254', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', '::ffff:7f00:1', '0:0:0:0:0:FFFF:127.0.0.1', '::127.0.0.1', '/run/worker.sock']],
  ['domain', ['10.0.0.1', '10.255.255.255', '172.16.0.1', '172.31.255.255', '192.168.0.1', '100.64.0.1', '100.127.255.255', 'fc00::1', 'fd12:3456::1',
    '::ffff:10.1.2.3', '::ffff:c0a8:1', '203.0.113.9', '::ffff:203.0.113.9', '2001:db8:77::1', 'FD12::1', 'fd00::1%eth0']],
  ['cloud', ['8.8.8.8', '1.1.1.1', '172.15.255.255', '172.32.0.1', '11.0.0.1', '100.63.255.255', '100.128.0.1', '192.167.255.255', '192.169.0.1', '126.255.255.255',
    '128.0.0.1', '203.0.114.1', '2606:4700::1111', '2001:db8:78::1', '::ffff:8.8.8.8', '64:ff9b::808:808', '64:ff9b::10.0.0.1', '2002:0a00:0001::1', '2002:808:808::', '198.51.100.1']],
  [null, ['0.0.0.0', '0.1.2.3', '::', '169.254.169.254', '169.254.0.1', '::ffff:169.254.169.254', '::ffff:a9fe:a9fe', '::169.254.169.254', 'fe80::1', 'fe80::1%eth0', 'febf::1',
    '224.0.0.1', '239.255.255.255', '240.0.0.1', '255.255.255.255', 'ff02::1', 'fd00:ec2::254', '100.100.100.200', '168.63.129.16', '192.0.0.192', '64:ff9b::a9fe:a9fe',
    '2002:a9fe:a9fe::1', '::ffff:0.0.0.0', '::2', '', 'localhost', 'example.com', '1.2.3', '0x7f.1', '2130706433', '127.0.0.1:80', '[::1]', '10.0.0.1/8']]
]

for (const [locality, addresses] of TABLE) {
  test(`these are ${locality ?? 'nobody\'s destination'}: ${addresses.length} addresses`, t => {
    for (const address of addresses) t.equal(localityOfAddress(address, DOMAIN), locality, address)
    t.end()
  })
}

test('no network of the operator makes a metadata service or loopback anything else', t => {
  const all = networks(['0.0.0.0/0', '::/0'])
  t.equal(localityOfAddress('169.254.169.254', all), null)
  t.equal(localityOfAddress('fe80::1', all), null)
  t.equal(localityOfAddress('127.0.0.1', all), 'local')
  t.equal(localityOfAddress('8.8.8.8', all), 'domain')
  t.equal(localityOfAddress('2606:4700::1111', all), 'domain')
  t.end()
})

test('a network is an address and a prefix', t => {
  for (const wrong of ['10.0.0.0', '10.0.0.0/33', 'example.com/8', '::/129', '/8', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/-1', '']) {
    t.throws(() => networks([wrong]), { message: /^Expected a network like 203\.0\.113\.0\/24, got / }, wrong)
  }
  t.end()
})
