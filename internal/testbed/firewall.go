package testbed

import (
	"fmt"
	"net"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Rule lets packets in that come from a network.
type Rule struct {
	Proto    string // tcp, udp, icmp, or -1 for all
	From, To int    // ports of tcp and udp; 0 to 0 are all
	Source   string // CIDR
}

// Guard lets in what the rules and earlier connections allow, and nothing else.
// It may be called again while the host runs; connections that are open stay.
func (h *Host) Guard(rules []Rule) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", h.pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	c, err := nftables.New(nftables.WithNetNSFd(int(ns.Fd())))
	if err != nil {
		return err
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "testbed"}
	c.AddTable(table) // so that there is one to delete
	c.DelTable(table)
	c.AddTable(table)
	drop := nftables.ChainPolicyDrop
	chain := c.AddChain(&nftables.Chain{
		Name: "in", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter, Policy: &drop,
	})
	for _, match := range append([][]expr.Any{fromItself(), ofConnections()}, matches(rules)...) {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(match, &expr.Verdict{Kind: expr.VerdictAccept})})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("%s: setting the rules of its security groups: %w", h.Name, err)
	}
	return nil
}

func fromItself() []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, "lo")
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Cmp{Register: 1, Data: name}}
}

func ofConnections() []expr.Any {
	known := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: known, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

var protocols = map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "icmp": unix.IPPROTO_ICMP}

// matches gives an nftables match for each rule that can be one.
func matches(rules []Rule) (all [][]expr.Any) {
	for _, r := range rules {
		_, source, err := net.ParseCIDR(r.Source)
		proto, known := protocols[r.Proto]
		if err != nil || source.IP.To4() == nil || !known && r.Proto != "-1" {
			continue // IPv6, or a protocol that nobody here speaks
		}
		match := []expr.Any{ // the source address is at byte 12 of an IPv4 header
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: source.Mask, Xor: make([]byte, 4)},
			&expr.Cmp{Register: 1, Data: source.IP.To4()},
		}
		if known {
			match = append(match, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Register: 1, Data: []byte{proto}})
		}
		if (r.Proto == "tcp" || r.Proto == "udp") && (r.From != 0 || r.To != 0) {
			match = append(match, // the port is at byte 2 of their headers
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
				&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(r.From))},
				&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(r.To))})
		}
		all = append(all, match)
	}
	return all
}
