package owner

// Where references were made, for people, if the cluster records that.

// Note keeps where a client's references to the object were made.
func (o *Object) Note(c Client, site string) {
	if o.sites == nil {
		o.sites = map[Client]string{}
	}
	o.sites[c] = site
}

// Site is where the references of a client were made, or for client 0 those of
// the first that made some; "" if that is not known.
func (o *Object) Site(c Client) string {
	if c != 0 || o.sites == nil {
		return o.sites[c]
	}
	first := ^Client(0)
	for c := range o.sites {
		first = min(first, c)
	}
	return o.sites[first]
}
