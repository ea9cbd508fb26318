/* conntrack.c: see conntrack.h. Through libnetfilter_conntrack. */
#include "core/lifecycle/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <netinet/in.h>
#include <string.h>

#include "core/util/log.h"

struct forget {
	struct nfct_handle *out; /* deletes while the other handle lists */
	uint16_t port;		 /* network order */
	int error;		 /* an errno, the first one */
};

static int on_flow(enum nf_conntrack_msg_type type, struct nf_conntrack *ct, void *arg)
{
	struct forget *f = arg;

	(void)type;
	if (nfct_get_attr_u8(ct, ATTR_ORIG_L4PROTO) != IPPROTO_UDP || nfct_get_attr_u16(ct, ATTR_ORIG_PORT_DST) != f->port)
		return NFCT_CB_CONTINUE;
	/* It may have ended by itself. */
	if (nfct_query(f->out, NFCT_Q_DESTROY, ct) < 0 && errno != ENOENT && !f->error)
		f->error = errno;
	return NFCT_CB_CONTINUE;
}

void conntrack_forget_udp(int family, uint16_t port)
{
	struct forget f = {.port = htons(port)};
	struct nfct_handle *in = nfct_open(NFNL_SUBSYS_CTNETLINK, 0);
	uint32_t fam = (uint32_t)family;

	f.out = nfct_open(NFNL_SUBSYS_CTNETLINK, 0);
	if (!in || !f.out || nfct_callback_register(in, NFCT_T_ALL, on_flow, &f) < 0 || nfct_query(in, NFCT_Q_DUMP, &fam) < 0)
		f.error = errno;
	if (f.error)
		log_warn("Flows to UDP port %u may lead past its mapping for a while: they cannot be removed: %s", port, strerror(f.error));
	if (in)
		(void)nfct_close(in);
	if (f.out)
		(void)nfct_close(f.out);
}
