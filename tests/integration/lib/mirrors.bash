# mirrors.bash: the images that critest asks for (fixtures/critest-images.sh) in the node's registry, which is made the mirror of the
# registries that they are named after. Loaded after cri.bash, by who needs it.

# use_mirrors [NAME...]: those of fixtures/critest-images.sh, or all. Before crio_start.
use_mirrors() {
	local images=$NODE_IMAGES/critest name ref r
	"$FIXTURES/critest-images.sh" "$images" "$@"
	while read -r name ref; do
		[ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
		case ${ref##*/} in *:*) ;; *) ref=$ref:latest ;; esac
		skopeo copy -q --dest-tls-verify=false "oci:$images/$name:latest" "docker://$REGISTRY/$ref"
	done <"$images/names"
	for r in registry.k8s.io k8s.gcr.io gcr.io docker.io; do
		printf '[[registry]]\nprefix = "%s"\nlocation = "%s"\n[[registry.mirror]]\nlocation = "%s/%s"\ninsecure = true\n' $r $r "$REGISTRY" $r
	done >"$NODE/etc/registries.d/mirrors.conf"
}
# staging NAME: the reference of one of critest's own images.
staging() { echo "gcr.io/k8s-staging-cri-tools/$1"; }
