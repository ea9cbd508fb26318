# mirrors.bash: the images that critest asks for (fixtures/critest-images.sh) in the node's registry, which is made the mirror of the
# registries that they are named after. Loaded after cri.bash or node.sh, by who needs it.

# mirrors_push [NAME...]: those of fixtures/critest-images.sh, or all, to $REGISTRY.
mirrors_push() {
	local images=$NODE_IMAGES/critest name ref
	"$FIXTURES/critest-images.sh" "$images" "$@"
	while read -r name ref; do
		[ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
		case ${ref##*/} in *:*) ;; *) ref=$ref:latest ;; esac
		skopeo copy -q --dest-tls-verify=false "oci:$images/$name:latest" "docker://$REGISTRY/$ref"
	done <"$images/names"
}
# mirrors_conf REGISTRY: a part of registries.conf.
mirrors_conf() {
	local r; for r in registry.k8s.io k8s.gcr.io gcr.io docker.io; do
		printf '[[registry]]\nprefix = "%s"\nlocation = "%s"\n[[registry.mirror]]\nlocation = "%s/%s"\ninsecure = true\n' $r $r "$1" $r
	done
}
# use_mirrors [NAME...]: both, for this node. Before crio_start.
use_mirrors() { mirrors_push "$@" && mirrors_conf "$REGISTRY" >"$NODE/etc/registries.d/mirrors.conf"; }
# critest_copy TO: critest pulls one image by the digest of the public one, which nothing here can have: the copy asks for the digest of ours.
critest_copy() {
	local digest; digest=$(jq -r '.manifests[0].digest' "$NODE_IMAGES/critest/test-digest/index.json")
	LC_ALL=C sed "s/test-image-digest@sha256:[0-9a-f]\{64\}/test-image-digest@$digest/g" "$(command -v critest)" >"$1"; chmod 755 "$1"
}
# critest_network: what kube-proxy or a portmap plugin does on a node: ports of the host also on 127.0.0.1.
critest_network() {
	echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
	nft -f - <<-E
	add table ip localhost
	add chain ip localhost post { type nat hook postrouting priority 100 ; }
	add rule ip localhost post ip saddr 127.0.0.0/8 oifname != "lo" masquerade
	E
}
# staging NAME: the reference of one of critest's own images.
staging() { echo "gcr.io/k8s-staging-cri-tools/$1"; }
